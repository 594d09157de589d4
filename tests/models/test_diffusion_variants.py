"""Diffusion as in the papers: noise prediction, attention, classes with guidance; and trainings that go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, UNet2DModel
from torch._dynamo.testing import CompileCounterWithBackend

from royalty.infra.stores.checkpoints import Checkpoint
from royalty.models.base.errors import InputError
from royalty.models.data.items import Shown
from royalty.models.generators import acceleration
from royalty.models.generators.ddpm import DDPM
from royalty.models.generators.denoising import eight_bit_adam
from royalty.models.generators.unets import Architecture, build_unet

TRAINING = {"batch_size": 8, "learning_rate": 5e-3, "ema_decay": 0.9}
pytestmark = pytest.mark.usefixtures("one_thread")

VARIANTS = {
    "noise": Architecture(8, 1, (8, 16), 1, objective="noise"),
    "attention": Architecture(8, 1, (8, 16), 1, attention=(1,), head_channels=8, objective="noise", flip=True),
    "classes": Architecture(8, 1, (8, 16), 1, attention=(1,), classes=2, guidance=2.0),
    "patches": Architecture(8, 1, (8, 16), 1, classes=2, flip=True, patch=2),
}


def shades(count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Flat images, dark ones of class 0 and bright ones of class 1."""
    labels = np.arange(count) % 2
    return np.where(labels, 215, 40).astype(np.uint8)[:, None, None, None] * np.ones((1, 1, 8, 8), np.uint8), labels


class Memory:
    """Keeps what a training saves, each step, until it is cut off."""

    def __init__(self, cut: int | None = None) -> None:
        self.state: bytes | None = None
        self.steps, self.cut = 0, cut

    def load(self) -> bytes | None:
        return self.state

    def due(self) -> bool:
        self.steps += 1
        if self.cut is not None and self.steps > self.cut:
            raise KeyboardInterrupt
        return True

    def save(self, state: bytes) -> None:
        self.state = state


@pytest.mark.parametrize(
    ("architecture", "millions"),
    [
        (Architecture(32, 3, (128, 256, 256, 256), 2, attention=(1,), groups=32, objective="noise"), 35.7),
        (
            Architecture(64, 3, (224, 448, 672, 896), 2, (1, 2, 3), head_channels=32, groups=32, objective="noise"),
            274.0,
        ),
    ],
    ids=["cifar", "celeba-hq"],
)
def test_the_nets_of_the_paper_have_as_many_parameters(architecture: Architecture, millions: float) -> None:
    with torch.device("meta"):
        assert build_unet(architecture).num_parameters() / 1e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_training_that_was_cut_off_ends_with_the_very_weights(name: str) -> None:
    images, labels = shades()
    whole, halves = (DDPM.build(VARIANTS[name], seed=0) for _ in range(2))
    losses = whole.fit(images, labels=labels, steps=7, **TRAINING, seed=1)
    memory = Memory(cut=3)
    with pytest.raises(KeyboardInterrupt):
        halves.fit(images, labels=labels, steps=7, **TRAINING, seed=1, keeper=memory)
    memory.cut = None
    resumed = DDPM.build(VARIANTS[name], seed=5)
    assert resumed.fit(images, labels=labels, steps=7, **TRAINING, seed=1, keeper=memory) == losses
    assert resumed.to_bytes() == whole.to_bytes()
    with pytest.raises(InputError, match="checkpoint of the same net"):
        DDPM.build(Architecture(8, 1, (8, 24), 1), seed=0).fit(images, steps=7, **TRAINING, seed=1, keeper=memory)


def test_a_training_goes_on_with_moments_of_8_bits_and_with_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = shades()
    with monkeypatch.context() as patched:
        patched.setattr(DDPM, "optimizing", lambda _: eight_bit_adam)
        whole = DDPM.build(VARIANTS["noise"], seed=0)
        losses = whole.fit(images, steps=6, **TRAINING, seed=1)
        memory = Memory(cut=3)
        with pytest.raises(KeyboardInterrupt):
            DDPM.build(VARIANTS["noise"], seed=0).fit(images, steps=6, **TRAINING, seed=1, keeper=memory)
        memory.cut = None
        resumed = DDPM.build(VARIANTS["noise"], seed=5)
        assert resumed.fit(images, steps=6, **TRAINING, seed=1, keeper=memory) == losses
        assert resumed.to_bytes() == whole.to_bytes()
    with pytest.raises(InputError, match="began with, AdamW8bit; here it is AdamW"):
        DDPM.build(VARIANTS["noise"], seed=0).fit(images, steps=7, **TRAINING, seed=1, keeper=memory)


def test_classes_are_learned_taken_in_turn_and_missing_ones_refused() -> None:
    images, labels = shades()
    model = DDPM.build(VARIANTS["classes"], seed=0)
    model.fit(images, labels=labels, steps=60, **TRAINING, seed=0)
    made = model.sample(16, seed=0, steps=8, scheduler="ddim").mean(axis=(1, 2, 3))
    assert made[1::2].mean() > made[::2].mean() + 60
    fresh = DDPM.build(VARIANTS["classes"], seed=1)
    assert fresh.untrained(seed=2).to_bytes() == model.untrained(seed=2).to_bytes()  # classes are forgotten, too
    model.prune(0.3, images, labels=labels, importance="taylor", seed=0)
    assert DDPM.from_bytes(model.to_bytes()).sample(2, seed=0, steps=2).shape == (2, 1, 8, 8)
    for bad in (None, labels + 1):
        with pytest.raises(InputError, match="Label every image"):
            model.fit(images, labels=bad, steps=1, **TRAINING, seed=0)


def test_noise_prediction_learns_and_loads_in_plain_diffusers(tmp_path: Path) -> None:
    images, _ = shades()
    model = DDPM.build(VARIANTS["noise"], seed=0)
    losses = model.fit(np.full_like(images, 40), steps=60, **TRAINING, seed=0)
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    model.export(tmp_path)
    pipeline = DDPMPipeline.from_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    assert isinstance(pipeline.unet, UNet2DModel)
    assert pipeline(num_inference_steps=3, output_type="np").images.shape == (1, 8, 8, 1)
    for mine, theirs in zip(model.unet.parameters(), pipeline.unet.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_a_pruned_model_is_no_folder_of_plain_diffusers(tmp_path: Path) -> None:
    model = DDPM.build(VARIANTS["attention"], seed=0)
    model.prune(0.3, shades()[0])
    with pytest.raises(InputError, match="widths of their configuration"):
        model.export(tmp_path)


def test_a_batch_too_large_for_memory_is_halved_and_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = shades()
    whole, short = (DDPM.build(VARIANTS["noise"], seed=0) for _ in range(2))
    losses = whole.fit(images, steps=3, **TRAINING, seed=1)
    forward, sizes = type(short.unet).forward, []

    def limited(net: UNet2DModel, noisy: torch.Tensor, *rest: Any) -> Any:
        sizes.append(len(noisy))
        if len(noisy) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(net, noisy, *rest)

    monkeypatch.setattr(UNet2DModel, "forward", limited)
    with pytest.warns(UserWarning, match="parts of 2 images"):
        assert short.fit(images, steps=3, **TRAINING, seed=1) == pytest.approx(losses, rel=1e-4)
    assert sizes[:3] == [8, 4, 2]
    assert sizes[3:] == [2] * 11
    monkeypatch.setattr(UNet2DModel, "forward", forward)
    mine, theirs = (model.unet.conv_in.weight for model in (short, whole))
    torch.testing.assert_close(mine, theirs, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_batch_in_parts_and_without_what_lies_between_blocks_learns_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = shades()
    forward, sizes = UNet2DModel.forward, []

    def counted(net: UNet2DModel, noisy: torch.Tensor, *rest: Any) -> Any:
        sizes.append(len(noisy))
        return forward(net, noisy, *rest)

    monkeypatch.setattr(UNet2DModel, "forward", counted)
    plain, saving = (
        DDPM.build(replace(VARIANTS[name], **changed), seed=0)
        for changed in ({}, {"gradient_accumulation": 3, "gradient_checkpointing": True})
    )
    blocks = []
    saving.unet.down_blocks[0].resnets[0].register_forward_pre_hook(lambda *_: blocks.append(1))
    losses = plain.fit(images, labels=labels, steps=2, **TRAINING, seed=1)
    assert saving.fit(images, labels=labels, steps=2, **TRAINING, seed=1) == pytest.approx(losses, rel=1e-4)
    assert sizes == [8, 8, *[3, 3, 2] * 2]
    assert len(blocks) == 2 * 2 * 3  # each computed again for its gradients
    mine, theirs = (model.unet.conv_in.weight for model in (saving, plain))
    torch.testing.assert_close(mine, theirs, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("name", ["noise", "classes"])
def test_mixed_precision_is_of_products_alone_and_of_able_processors(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = shades()

    def learned(mixed: bool) -> tuple[np.ndarray, np.ndarray]:
        model = DDPM.build(replace(VARIANTS[name], mixed_precision=mixed), seed=0)
        (losses,) = model.fit_many([model], [Shown(images, labels)], steps=4, **TRAINING, seeds=[1]).losses
        assert all(weight.dtype == torch.float32 for weight in model.unet.parameters())
        return losses, model.sample(4, seed=0, steps=2).astype(float)

    def on_a_processor(able: bool) -> tuple[np.ndarray, np.ndarray]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": able})
        return learned(True)

    plain, unable, mixed = learned(False), on_a_processor(False), on_a_processor(True)
    np.testing.assert_array_equal(plain[0], unable[0])
    np.testing.assert_array_equal(plain[1], unable[1])
    assert (mixed[0] != plain[0]).all()
    assert mixed[0] == pytest.approx(plain[0], rel=0.05)
    assert 0 < np.abs(mixed[1] - plain[1]).mean() < 12


@pytest.mark.slow
def test_a_compiled_net_has_the_same_weights_and_is_compiled_once_for_its_shape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, _ = shades()
    plain, quick, other = (
        DDPM.build(replace(VARIANTS["attention"], torch_compile=wanted), seed=0) for wanted in (False, True, True)
    )
    counter, compiler = CompileCounterWithBackend("eager"), torch.compile
    monkeypatch.setattr(acceleration, "COMPILED", ("cpu",))
    monkeypatch.setattr(torch, "compile", partial(compiler, backend=counter))
    acceleration._compiled.cache_clear()
    for model in (plain, quick):
        model.fit(images, steps=2, **TRAINING, seed=1)
    compiled_once = counter.frame_count
    assert compiled_once > 0
    other.fit(images, steps=2, **TRAINING, seed=1)
    assert counter.frame_count == compiled_once
    assert acceleration._compiled.cache_info().misses == 1
    assert other.to_bytes() == quick.to_bytes()
    sizes: list[int] = []
    quick.unet.register_forward_pre_hook(lambda net, given: sizes.append(len(given[0])))
    assert len(quick.sample(5, seed=0, steps=1, batch_size=3)) == 5
    assert set(sizes) == {3}
    assert plain.weights.keys() == quick.weights.keys()
    for name, weight in plain.weights.items():
        np.testing.assert_allclose(quick.weights[name], weight, atol=1e-5)


def test_channels_last_changes_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = shades()
    plain, laid_out = (DDPM.build(VARIANTS["classes"], seed=0) for _ in range(2))
    losses = plain.fit(images, labels=labels, steps=4, **TRAINING, seed=1)
    monkeypatch.setattr(acceleration, "CHANNELS_LAST", ("cpu",))
    laid_out.sample(2, seed=0, steps=1)
    assert laid_out.fit(images, labels=labels, steps=4, **TRAINING, seed=1) == pytest.approx(losses, rel=1e-4)
    convolution = laid_out.unet.down_blocks[0].resnets[0].conv1.weight
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    for name, weight in plain.weights.items():
        np.testing.assert_allclose(laid_out.weights[name], weight, atol=1e-3)  # Adam's steps are of 5e-3
    assert DDPM.from_bytes(laid_out.to_bytes()).to_bytes() == laid_out.to_bytes()


KILLED = """
import sys
from pathlib import Path
import torch
from royalty.infra.stores.checkpoints import Checkpoint
from royalty.models.generators.ddpm import DDPM
from royalty.models.generators.denoising import eight_bit_adam
from tests.models.test_diffusion_variants import TRAINING, VARIANTS, shades
torch.set_num_threads(1)
images, labels = shades()
keeper = Checkpoint(Path(sys.argv[1]), every=0)
model = DDPM.build(VARIANTS["attention"], seed=0)
def step(_): print("step", flush=True)
model.fit(images, labels=labels, steps=12, **TRAINING, seed=1, keeper=keeper, progress=step)
Path(sys.argv[2]).write_bytes(model.to_bytes())
"""


@pytest.mark.kill
def test_a_killed_training_ends_with_the_very_weights(tmp_path: Path) -> None:
    """SIGKILL at some step, of a process of its own; one file is left, and goes when it is no longer needed."""
    kept, out, calm = tmp_path / "kept", tmp_path / "resumed", tmp_path / "calm"
    command = [sys.executable, "-c", KILLED, str(kept)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([*command, str(out)], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(int(np.random.default_rng().integers(1, 9))):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    assert (kept / "state.safetensors").exists()
    subprocess.run([*command, str(out)], env=environment, check=True, capture_output=True)
    assert [path.name for path in kept.iterdir()] == ["state.safetensors"]
    Checkpoint(kept).remove()
    assert not kept.exists()
    subprocess.run([*command, str(calm)], env=environment, check=True, capture_output=True)
    assert out.read_bytes() == calm.read_bytes()
