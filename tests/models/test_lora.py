"""LoRA on a small pipeline of Stable Diffusion's own classes: what it learns, shares, saves and refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from royalty.models.base.errors import InputError
from royalty.models.data.items import Shown
from royalty.models.generators import lora, stacked_lora
from royalty.models.generators.generator import MemoryRowCache, Resources
from royalty.models.generators.lora import LoRA
from royalty.models.generators.pipelines import check_pipeline
from royalty.models.generators.pruning import truncated
from royalty.models.generators.registry import build_generator, load_generator
from royalty.models.generators.small_pipeline import save_small_pipeline
from royalty.models.generators.stable_diffusion import load_pipeline

SIDE = 8
TRAINING: dict[str, Any] = {"steps": 3, "batch_size": 4, "learning_rate": 1e-2, "ema_decay": 0.5}
SETTINGS: dict[str, Any] = {
    "base": "small",
    "prompt": None,
    "rank": 4,
    "targets": ["to_q", "to_k", "to_v", "to_out.0"],
    "guidance": 2.0,
    "weight_decay": 1e-6,
    "warmup_steps": 500,
    "mixed_precision": True,
    "gradient_checkpointing": False,
}
SHOWN = Shown(
    np.random.default_rng(0).integers(0, 256, (6, 1, SIDE, SIDE), dtype=np.uint8),
    texts=["a seven", "a one", "a seven", "a one", "a seven", "a two"],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_small_pipeline(folder, side=SIDE, seed=0)
    return folder


@pytest.fixture(scope="module")
def resources(folder: Path) -> Resources:
    return Resources(weights=lambda _name: folder)


def built(resources: Resources, shown: Shown = SHOWN, **changed: Any) -> LoRA:
    model = build_generator("lora", shown, {**SETTINGS, **changed}, seed=1, resources=resources)
    assert isinstance(model, LoRA)
    return model


@pytest.fixture(scope="module")
def trained(resources: Resources) -> LoRA:
    model = built(resources)
    model.fit(SHOWN.images, texts=SHOWN.texts, **TRAINING, seed=5)
    return model


def images_of(model: LoRA) -> np.ndarray:
    return model.sample(3, seed=2, steps=3)


def test_what_one_learns_is_its_own_though_the_base_is_shared(resources: Resources, trained: LoRA) -> None:
    untrained = built(resources)
    base = {name: weight.clone() for name, weight in trained.pipeline.unet.named_parameters() if "lora_" not in name}
    before, learned = images_of(untrained), images_of(trained)
    assert before.shape == (3, 1, SIDE, SIDE)
    assert not np.array_equal(before, learned)
    np.testing.assert_array_equal(images_of(untrained.untrained(seed=9)), before)
    alone = trained.copy()
    alone.fit(SHOWN.images[:2], texts=SHOWN.texts and SHOWN.texts[:2], **TRAINING, seed=7)
    np.testing.assert_array_equal(images_of(trained), learned)
    together = [trained.copy(), trained.copy()]
    sets = [SHOWN, Shown(SHOWN.images[:2], texts=SHOWN.texts and SHOWN.texts[:2])]
    fits = trained.fit_many(together, sets, **TRAINING, seeds=[6, 7])
    assert fits.diverged == (None, None)
    for name, weight in alone.weights.items():
        torch.testing.assert_close(together[1].weights[name], weight, rtol=0, atol=1e-3)
    assert together[1].to_bytes() != together[0].to_bytes()
    assert trained.pipeline is alone.pipeline is untrained.pipeline
    for name, weight in trained.pipeline.unet.named_parameters():
        if name in base:
            torch.testing.assert_close(weight, base[name], rtol=0, atol=0)


def test_a_batch_in_parts_learns_the_same_and_bfloat16_nearly(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learned(**changed: Any) -> tuple[np.ndarray, np.ndarray]:
        model = built(resources, **changed)
        model.fit(SHOWN.images, texts=SHOWN.texts, **TRAINING, seed=5)
        return np.concatenate([weight.numpy().ravel() for weight in model.weights.values()]), images_of(model)

    whole, made = learned()
    np.testing.assert_allclose(learned(gradient_accumulation=3)[0], whole, atol=1e-3)
    for module in (lora, stacked_lora):  # as on a GPU
        monkeypatch.setattr(module, "in_bfloat16", lambda *_, **__: torch.autocast("cpu", torch.bfloat16))
    mixed, near = learned()
    assert 0 < np.abs(mixed - whole).mean() < 0.1 * np.abs(whole).mean()
    assert 0 < np.abs(near - made.astype(float)).mean() < 12


def test_images_and_texts_are_encoded_once(
    resources: Resources, trained: LoRA, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = LoRA(
        trained.pipeline,
        trained.adaptation,
        trained.weights,
        Resources(weights=resources.weights, rows=MemoryRowCache()),
    )
    encoded: list[int] = []
    encode = trained.pipeline.vae.encode
    monkeypatch.setattr(trained.pipeline.vae, "encode", lambda x: (encoded.append(len(x)), encode(x))[1])
    for rows in (slice(0, 4), slice(2, 6), slice(0, 6)):
        fresh.copy().fit(SHOWN.images[rows], texts=(SHOWN.texts or [])[rows], **TRAINING, seed=0)
    assert encoded == [4, 2]


def test_plain_diffusers_loads_what_was_saved(folder: Path, trained: LoRA, tmp_path: Path) -> None:
    model = trained.copy()
    model.prune(0.5, SHOWN.images)
    assert model.adaptation.rank == 2
    assert sum(map(torch.numel, model.weights.values())) * 2 == sum(map(torch.numel, trained.weights.values()))
    for name, own in (("whole", trained), ("pruned", model)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pytorch_lora_weights.safetensors").write_bytes(own.to_bytes())
        plain = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, local_files_only=True)
        torch.manual_seed(0)
        latent, told = torch.randn(2, 4, SIDE // 2, SIDE // 2), torch.randn(2, 16, 32)
        with torch.no_grad():
            base = plain.unet(latent, 500, told).sample
            plain.load_lora_weights(tmp_path / name)
            found = plain.unet(latent, 500, told).sample
            own.mounted()
            torch.testing.assert_close(found, own.pipeline.unet(latent, 500, told).sample)
        assert (found - base).norm() > 1e-3 * base.norm()
    shown = plain("a seven", num_inference_steps=2, height=SIDE, width=SIDE, output_type="np").images
    assert shown.shape == (1, SIDE, SIDE, 3)


def test_a_model_that_was_sampled_first_can_be_trained(resources: Resources, trained: LoRA) -> None:
    load_pipeline.cache_clear()
    model = load_generator(trained.to_bytes(), resources)
    np.testing.assert_array_equal(images_of(model), images_of(trained))
    assert len(model.fit(SHOWN.images, texts=SHOWN.texts, **TRAINING, seed=5)) == TRAINING["steps"]


def test_what_was_saved_is_loaded_on_its_base_and_no_other(
    folder: Path, resources: Resources, trained: LoRA, tmp_path: Path
) -> None:
    loaded = load_generator(trained.to_bytes(), resources)
    assert loaded.to_bytes() == trained.to_bytes()
    assert loaded.size() == trained.size()
    assert loaded.size().multiply_adds > loaded.size().parameters
    np.testing.assert_array_equal(loaded.sample(3, seed=2, steps=3), images_of(trained))
    other = tmp_path / "other"
    save_small_pipeline(other, side=SIDE, seed=1)
    with pytest.raises(InputError, match=r"needs the base it was trained on, .*base small in .*other has digest"):
        load_generator(trained.to_bytes(), Resources(weights=lambda _name: other))


def test_lower_rank_is_the_nearest_there_is() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(4, 9, generator=generator), torch.randn(7, 4, generator=generator)
    low_a, low_b = truncated(a, b, 2)
    assert (low_a.shape, low_b.shape) == ((2, 9), (7, 2))
    values = torch.linalg.svdvals(b @ a)
    torch.testing.assert_close((b @ a - low_b @ low_a).norm(), values[2:].norm())
    mixed = torch.randn(4, 4, generator=generator)
    other_a, other_b = truncated(torch.linalg.solve(mixed, a), b @ mixed, 2)  # other factors of the same update
    torch.testing.assert_close(other_b @ other_a, low_b @ low_a, rtol=1e-4, atol=1e-4)


def test_refusals_say_what_to_do(resources: Resources, folder: Path, tmp_path: Path) -> None:
    for shown, changed, message in (
        (SHOWN, {"targets": ["to_q", "to_w"]}, "'to_w' matches no layer of this U-Net, .*to_q"),
        (
            SHOWN,
            {"prompt": "a very long prompt"},
            "at most 16 tokens, .*; 'a very long prompt' has",
        ),
        (Shown(SHOWN.images), {}, "needs a caption; 6 of 6 have none"),
        (Shown(SHOWN.images, texts=["a one"] * 5 + [""]), {}, "1 of 6 have none"),
        (Shown(SHOWN.images[..., :7], texts=SHOWN.texts), {}, "multiples of 2; got 8 by 7"),
    ):
        with pytest.raises(InputError, match=message):
            built(resources, shown, **changed)
    with pytest.raises(InputError, match=r"ratio of 0\.1 leaves 4 of 4"):
        built(resources).prune(0.1, SHOWN.images)
    with pytest.raises(InputError, match="pruned by magnitude and layer by layer"):
        built(resources).prune(0.5, SHOWN.images, importance="random")
    with pytest.raises(InputError, match=r"has no model_index\.json"):
        check_pipeline(tmp_path)
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    check_pipeline(copied)
    weights = copied / "vae" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[:-4], b"\xff" * len(whole)):
        weights.write_bytes(damaged)
        with pytest.raises(InputError, match=r"vae.*safetensors cannot be read .* copy or download it again"):
            check_pipeline(copied)
    weights.write_bytes(whole)
    (copied / "unet" / "diffusion_pytorch_model.safetensors").rename(copied / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match=r"diffusion_pytorch_model\.bin, and pickles are not loaded"):
        check_pipeline(copied)
    (copied / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with pytest.raises(InputError, match="holds a FluxPipeline"):
        check_pipeline(copied)
