"""Encoders whose weights are fetched: the same classes, small, with random weights, read from a folder alike."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.models.densenet import DenseNet
from transformers import (
    BlipConfig,
    BlipForQuestionAnswering,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
)

from royalty.infra.stores.weights import WeightsError, WeightsStore
from royalty.models.base.checkpoints import load_exactly, read_checkpoint, weights_digest
from royalty.models.base.errors import InputError
from royalty.models.encoders import hub
from royalty.models.encoders.encoder import prepared
from royalty.models.encoders.registry import ENCODERS, build_encoder

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def pictures(n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(n, *shape), dtype=np.uint8)


def clip_net(image_size: int = 32, **changes: Any) -> CLIPVisionModelWithProjection:
    torch.manual_seed(0)
    config = CLIPVisionConfig(image_size=image_size, patch_size=8, projection_dim=12, **{**SMALL, **changes})
    return CLIPVisionModelWithProjection(config)


def dinov2_net() -> Dinov2Model:
    torch.manual_seed(0)
    return Dinov2Model(Dinov2Config(image_size=56, patch_size=14, **SMALL))


@pytest.fixture
def densenet(monkeypatch: pytest.MonkeyPatch) -> Callable[[], DenseNet]:
    """DenseNet, which the function that builds DenseNet121 builds small."""

    def build(weights: None = None) -> DenseNet:
        return DenseNet(growth_rate=4, block_config=(1, 2, 1, 1), num_init_features=8, num_classes=5)

    monkeypatch.setattr(torchvision.models, "densenet121", build)
    return build


@pytest.mark.parametrize("safe", [True, False])
def test_clip_is_the_models_own_features_of_prepared_images(tmp_path: Path, safe: bool) -> None:
    net = clip_net()
    if safe:
        net.save_pretrained(tmp_path)
    else:  # the published file is a pickle
        net.config.save_pretrained(tmp_path)
        torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    encoder = build_encoder("clip", shape=(3, 32, 32), weights=lambda name: {"clip": tmp_path}[name])
    images = pictures(3, 3, 32, 32)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (hub.CLIP_MEAN, hub.CLIP_STD))
    with torch.inference_mode():
        expected = net.eval()(pixel_values=(torch.from_numpy(images) / 255 - mean) / std).image_embeds
    np.testing.assert_allclose(encoder.features(images), expected.numpy(), atol=1e-5)
    assert encoder.dimensions == 12
    assert encoder.name == hub.Clip(net).name


def test_clip_reads_the_vision_side_of_a_whole_clip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = {**SMALL, "vocab_size": 20, "max_position_embeddings": 4}
    vision = {**SMALL, "image_size": 32, "patch_size": 8, "projection_dim": 12}
    whole = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()
    whole.save_pretrained(tmp_path)
    encoder = hub.clip(tmp_path)
    shown = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        expected = whole.get_image_features(pixel_values=prepared(shown, 32, mean=hub.CLIP_MEAN, std=hub.CLIP_STD))
        torch.testing.assert_close(encoder.embed(shown), expected.pooler_output, atol=1e-5, rtol=0)


def test_dinov2_is_the_class_token(tmp_path: Path) -> None:
    net = dinov2_net()
    net.save_pretrained(tmp_path)
    encoder = build_encoder("dinov2", shape=(3, 224, 224), weights=lambda name: tmp_path)
    shown = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        expected = net.eval()(pixel_values=prepared(shown, 224)).last_hidden_state[:, 0]
        torch.testing.assert_close(encoder.embed(shown), expected, atol=1e-5, rtol=0)
    with pytest.raises(InputError, match="multiple of 14, not 50"):
        hub.Dinov2(net, size=50)


def test_blip_is_the_class_token_of_the_model_that_answers_questions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    text = {**SMALL, "vocab_size": 20, "max_position_embeddings": 4, "encoder_hidden_size": 16}
    whole = BlipForQuestionAnswering(BlipConfig(vision_config=vision, text_config=text)).eval()
    whole.save_pretrained(tmp_path)
    encoder = build_encoder("blip-vqa", shape=(3, 32, 32), weights=lambda name: {"blip-vqa": tmp_path}[name])
    shown = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        pixels = prepared(shown, 32, mean=hub.CLIP_MEAN, std=hub.CLIP_STD)
        expected = whole.vision_model(pixel_values=pixels).last_hidden_state[:, 0]
        torch.testing.assert_close(encoder.embed(shown), expected, atol=1e-5, rtol=0)
    assert encoder.dimensions == 16


def test_densenet_reads_todays_names_and_the_published_ones(tmp_path: Path, densenet: Callable[[], DenseNet]) -> None:
    net, images = densenet(), pictures(2, 1, 28, 28)
    published = {
        name.replace("norm1.", "norm.1.").replace("norm2.", "norm.2.").replace("conv1.", "conv.1.")
        if "denselayer" in name
        else name: tensor
        for name, tensor in net.state_dict().items()
    }
    assert published.keys() != net.state_dict().keys()
    features = []
    for folder, state in (("now", net.state_dict()), ("then", published)):
        (tmp_path / folder).mkdir()
        torch.save(state, tmp_path / folder / "model.pth")
        encoder = hub.densenet121(tmp_path / folder)
        features.append(encoder.features(images))
    assert encoder.name.startswith("densenet121-224-")
    np.testing.assert_array_equal(*features)
    with torch.inference_mode():
        maps = net.eval().features(prepared(torch.from_numpy(images) / 255, 224))
    np.testing.assert_allclose(features[0], maps.relu().mean((2, 3)).numpy(), atol=1e-5)


def test_alexnet_ends_before_its_last_layer(tmp_path: Path) -> None:
    net = torchvision.models.alexnet(weights=None)
    torch.save(net.state_dict(), tmp_path / "model.pth")
    encoder = build_encoder("alexnet", shape=(3, 32, 32), weights=lambda name: tmp_path)
    images = pictures(2, 3, 32, 32)
    features = encoder.features(images)
    assert features.shape == (2, encoder.dimensions) == (2, 4096)
    assert features.min() >= 0
    with torch.inference_mode():
        logits = net.eval()(prepared(torch.from_numpy(images) / 255, 224))
        torch.testing.assert_close(net.classifier[-1](torch.from_numpy(features)), logits, atol=1e-5, rtol=1e-5)


def test_a_name_stands_for_weights_and_layers() -> None:
    net = clip_net()
    first = hub.Clip(net).name
    assert first == hub.Clip(clip_net()).name
    changed = [clip_net(num_attention_heads=4), clip_net(hidden_act="gelu"), clip_net(layer_norm_eps=1e-3)]
    with torch.no_grad():
        next(net.parameters()).flatten()[0] += 1e-6
    names = {first, hub.Clip(net).name, *(hub.Clip(each).name for each in changed)}
    assert len(names) == 5


def test_batches_neighbours_and_greyscale_do_not_matter() -> None:
    encoder = hub.Clip(clip_net())
    images = pictures(5, 1, 40, 20)
    whole, done = encoder.features(images), []
    np.testing.assert_allclose(encoder.features(images, batch_size=2, progress=done.append), whole, atol=1e-5)
    assert done == [2, 2, 1]
    np.testing.assert_allclose(encoder.features(images.repeat(3, axis=1)), whole, atol=1e-6)
    with pytest.raises(InputError, match="these have 4"):
        encoder.features(pictures(1, 4, 8, 8))


def test_bicubic_resizing_is_pillows() -> None:
    picture = pictures(1, 3, 90, 60)
    shown = prepared(torch.from_numpy(picture) / 255, 32, mean=(0, 0, 0), std=(1, 1, 1), interpolation="bicubic")
    resized = Image.fromarray(picture[0].transpose(1, 2, 0)).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(shown[0].numpy() * 255, np.asarray(resized).transpose(2, 0, 1), atol=1.5)
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 4:] = 1
    enlarged = prepared(edge, 32, mean=(0, 0, 0), std=(1, 1, 1), interpolation="bicubic")
    assert (enlarged.min(), enlarged.max()) == (0, 1)


@pytest.mark.parametrize("name", ["clip", "dinov2", "alexnet", "densenet121"])
def test_missing_weights_name_the_command(tmp_path: Path, name: str) -> None:
    assert name in ENCODERS
    with pytest.raises(WeightsError, match=f"royalty weights fetch {name}"):
        build_encoder(name, shape=(3, 8, 8), weights=WeightsStore(tmp_path).locate)
    with pytest.raises(InputError, match=f"{name} needs weights"):
        build_encoder(name, shape=(3, 8, 8))
    with pytest.raises(InputError, match="did you mean"):
        build_encoder(f"{name}x", shape=(3, 8, 8))


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "run")


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, densenet: Callable[[], DenseNet]) -> None:
    trace = tmp_path / "trace"
    torch.save({"features.conv0.weight": Malicious(trace)}, tmp_path / "model.pth")
    with pytest.raises(InputError, match="never loaded"):
        hub.densenet121(tmp_path)
    clip_net().config.save_pretrained(tmp_path)
    for write in (torch.save, lambda state, path: path.write_bytes(pickle.dumps(state))):
        write({"vision_model.post_layernorm.weight": Malicious(trace)}, tmp_path / "pytorch_model.bin")
        with pytest.raises(InputError, match="CLIPVisionModelWithProjection"):
            hub.clip(tmp_path)
    assert not trace.exists()


def test_damaged_and_foreign_files_are_refused(tmp_path: Path, densenet: Callable[[], DenseNet]) -> None:
    with pytest.raises(InputError, match=r"model\.pth"):
        hub.densenet121(tmp_path)
    (tmp_path / "model.pth").write_bytes(b"no weights")
    with pytest.raises(InputError, match="damaged"):
        hub.densenet121(tmp_path)
    state = densenet().state_dict()
    torch.save({**state, "other": torch.zeros(1)}, tmp_path / "model.pth")
    with pytest.raises(InputError, match=r"another network.*other"):
        hub.densenet121(tmp_path)
    torch.save(state, tmp_path / "model.pth")
    whole = (tmp_path / "model.pth").read_bytes()
    (tmp_path / "model.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(tmp_path / "model.pth")
    with pytest.raises(InputError, match="not a readable Dinov2Model"):
        hub.dinov2(tmp_path)
    net = clip_net()
    net.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({k: v for k, v in net.state_dict().items() if "visual" not in k}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"lacks weights.*visual_projection"):
        hub.clip(tmp_path)
    with pytest.raises(InputError, match="another network"):
        load_exactly(torch.nn.Linear(2, 2), torch.nn.Linear(3, 2).state_dict(), tmp_path)
    assert weights_digest(torch.nn.Linear(2, 2)) != weights_digest(torch.nn.Linear(2, 2))


def test_an_absent_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"package transformers.*royalty\[hub\]"):
        hub.clip(tmp_path)
