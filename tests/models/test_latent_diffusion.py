"""Latent diffusion on small autoencoders of diffusers' classes: what it learns, keeps, shares, saves and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LDMPipeline

from royalty.models.base.errors import InputError
from royalty.models.data.items import ImageSet, Shown
from royalty.models.generators.differentiable import of_denoiser
from royalty.models.generators.generator import MemoryRowCache, Resources
from royalty.models.generators.gradients import loss_gradients
from royalty.models.generators.latent_diffusion import LatentDiffusion
from royalty.models.generators.pipelines import autoencoder_in
from royalty.models.generators.registry import build_generator, load_generator, outline_generator
from royalty.models.generators.retraining import coalition_models
from royalty.models.generators.training import UNLEARNING, Method, Training
from tests.autoencoder import CHANNELS, FACTOR, save_autoencoder

SIDE = 16
SHOWN = Shown(np.random.default_rng(0).integers(0, 256, (10, 1, SIDE, SIDE), dtype=np.uint8))
TRAINING: dict[str, Any] = {"steps": 3, "batch_size": 4, "learning_rate": 1e-2, "ema_decay": 0.5}
SETTINGS = {"block_channels": [8, 16], "layers_per_block": 1, "objective": "noise"}
KINDS = ("VQModel", "AutoencoderKL")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=KINDS)
def resources(request: pytest.FixtureRequest, tmp_path: Path) -> Resources:
    folder = save_autoencoder(tmp_path / "base", request.param)
    return Resources(weights=lambda name: folder if name == "base" else tmp_path / name, rows=MemoryRowCache())


def built(resources: Resources, shown: Shown = SHOWN, seed: int = 0, **changed: Any) -> LatentDiffusion:
    settings = {**SETTINGS, "base": "base", **changed}
    model = build_generator("latent", shown, settings, seed=seed, resources=resources)
    assert isinstance(model, LatentDiffusion)
    return model


def test_latents_are_encoded_once_and_have_the_scale_of_the_pipeline(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = built(resources, flip=True)
    latents = model.learned(SHOWN.images)
    assert latents.shape == (10, CHANNELS, SIDE // FACTOR, SIDE // FACTOR)
    net = model._autoencoder.net
    pixels = torch.from_numpy(SHOWN.images).float().expand(-1, 3, -1, -1) / 127.5 - 1
    encoded = net.encode(pixels)
    own = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
    torch.testing.assert_close(latents, own * net.config.scaling_factor, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.learned(SHOWN.images[[3, 3, 1]]), latents[[3, 3, 1]], rtol=0, atol=0)
    model.fit(SHOWN.images, **TRAINING, seed=1)  # which encodes the mirrored images
    monkeypatch.setattr(net, "encode", lambda _: pytest.fail("an image was encoded again"))
    fresh = built(resources, seed=4, flip=True)
    fresh.fit(SHOWN.images, **TRAINING, seed=1)


def test_it_learns_and_plain_diffusers_makes_the_same_images(resources: Resources, tmp_path: Path) -> None:
    model = built(resources, Shown(SHOWN.images.repeat(3, axis=1)))
    losses = model.fit(np.full((10, 3, SIDE, SIDE), 40, np.uint8), **{**TRAINING, "steps": 60}, seed=0)
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    model.export(tmp_path / "exported")
    pipeline = LDMPipeline.from_pretrained(tmp_path / "exported")
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(2 * 1_000_003)
    theirs = pipeline(batch_size=3, generator=generator, num_inference_steps=4, output_type="np").images
    mine = model.sample(3, seed=2, steps=4, scheduler="ddim")
    np.testing.assert_allclose(mine.transpose(0, 2, 3, 1), 255 * theirs, atol=1)
    assert mine.shape == (3, 3, SIDE, SIDE)
    assert mine.std() > 0


def test_what_was_saved_is_loaded_and_pruned_on_the_same_autoencoder(resources: Resources, tmp_path: Path) -> None:
    model = built(resources)
    model.fit(SHOWN.images, **TRAINING, seed=3)
    loaded = load_generator(model.to_bytes(), resources)
    assert loaded.to_bytes() == model.to_bytes()
    np.testing.assert_array_equal(loaded.sample(2, seed=1, steps=2), model.sample(2, seed=1, steps=2))
    twin = model.copy()
    assert twin._autoencoder is model._autoencoder
    pruned = twin.prune(0.3, SHOWN.images, importance="taylor", seed=0)
    assert 0.1 < pruned.removed < 0.5
    assert load_generator(twin.to_bytes(), resources).size() == twin.size()
    assert model.to_bytes() == loaded.to_bytes()
    with pytest.raises(InputError, match="widths of their configuration"):
        twin.export(tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
    save_autoencoder(tmp_path / "base", model.described.kind, seed=9)
    with pytest.raises(InputError, match=r"needs the autoencoder it was trained with, .* or train again"):
        load_generator(model.to_bytes(), resources)


def test_classes_are_told(resources: Resources) -> None:
    shown = replace(SHOWN, labels=np.arange(10) % 2)
    model = built(resources, shown, conditional=True, flip=True)
    model.fit(shown.images, labels=shown.labels, **TRAINING, seed=0)
    assert load_generator(model.to_bytes(), resources).sample(3, seed=0, steps=2).shape == (3, 1, SIDE, SIDE)


@pytest.mark.parametrize("method", ["sparsified", "retrain", "pooled", "amortized", *UNLEARNING])
def test_every_way_to_a_coalition(method: Method, tmp_path: Path) -> None:
    folder = save_autoencoder(tmp_path, "VQModel")
    model = built(Resources(weights=lambda _: folder), block_channels=[8], layers_per_block=1)
    data = ImageSet.merge(SHOWN.images, list("abcdefghij"), np.zeros(10), ("",), [[str(n % 2)] for n in range(10)])
    training = Training(steps=2, batch_size=4, learning_rate=1e-3, ema_decay=0.5, timesteps=3, damping=0.1)
    masks = np.array([[True, False], [False, False]])
    outcomes = coalition_models(method, model, data, masks, training, seeds=[0, 0])
    assert [outcome.failure for outcome in outcomes] == [None, None]
    first, nobody = (outcome.model for outcome in outcomes)
    assert first is not None
    assert nobody is not None
    assert len({first.to_bytes(), nobody.to_bytes(), model.to_bytes()}) == 3


def test_gradients_are_of_latents(resources: Resources) -> None:
    model = built(resources, block_channels=[8])
    rows = loss_gradients(
        of_denoiser(model), SHOWN.images[[0, 1, 0]], loss="simple", timesteps=3, projection=16, seed=0
    )
    np.testing.assert_array_equal(rows[0], rows[2])
    assert not np.array_equal(rows[0], rows[1])


def test_an_outline_takes_the_latents_of_the_papers_autoencoder() -> None:
    settings = {**SETTINGS, "base": "anything"}
    latent, pixels = (
        outline_generator("latent", (3, 64, 64), settings),
        outline_generator("ddpm", (3, 16, 16), SETTINGS),
    )
    assert latent == pixels


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    folder = save_autoencoder(tmp_path / "base", "VQModel")
    at_it = Resources(weights=lambda _: folder)
    with pytest.raises(InputError, match=r"multiples of 4; got 14\. Set `data: \{size: \.\.\.\}`"):
        built(at_it, Shown(SHOWN.images[..., :14, :14]))
    with pytest.raises(InputError, match=r"has no config\.json of an autoencoder; a base for latents is"):
        autoencoder_in(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "diffusion_pytorch_model.safetensors").rename(folder / "diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match=r"diffusion_pytorch_model\.bin, and pickles are not loaded"):
        autoencoder_in(folder)
    for changed, message in (
        ({"_class_name": "UNet2DModel"}, "holds a UNet2DModel"),
        ({"latent_channels": None}, "TypeError"),
    ):
        (folder / "config.json").write_text(json.dumps(config | changed))
        with pytest.raises(InputError, match=message):
            autoencoder_in(folder)


def test_a_pipeline_has_its_autoencoder_in_a_folder(tmp_path: Path) -> None:
    save_autoencoder(tmp_path / "vqvae", "VQModel")
    found = autoencoder_in(tmp_path)
    assert (found.kind, found.factor, found.channels) == ("VQModel", FACTOR, CHANNELS)
    assert found.folder == tmp_path / "vqvae"
