"""Where a GPU would make the CPU wait, found without one: the net is on the `meta` device, the rest on the CPU."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from royalty.models.base.choices import SchedulerName
from royalty.models.base.errors import InputError
from royalty.models.data.items import Shown
from royalty.models.generators import denoising, draws, generator, readings
from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.generator import ScaledImages
from royalty.models.generators.stacked import fit_stacked

PLAIN = Architecture(8, 1, (8, 8), 1)
ALL = Architecture(8, 1, (8, 8), 1, classes=3, flip=True)
IMAGES, LABELS = np.random.default_rng(0).integers(0, 256, (10, 1, 8, 8), dtype=np.uint8), np.arange(10) % 3
TRAINING = {"batch_size": 4, "learning_rate": 1e-2, "ema_decay": 0.9}

READS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::linalg_solve", "aten::equal"}
"""Calls whose result, or whose check of errors, the CPU waits for."""


class Waits(TorchDispatchMode):
    """Counts the calls for which the CPU would wait: reads of the device's tensors, and copies to the device."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.copies = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [leaf.device.type for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func._schema.name in READS and "meta" in given:
            self.reads += 1
        result = func(*args, **(kwargs or {}))
        made = [leaf.device.type for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if given == ["cpu"] and made == ["meta"]:
            self.copies += 1
        return result


@pytest.mark.parametrize("scheduler", get_args(SchedulerName))
@pytest.mark.parametrize("classes", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_waits_of_sampling_do_not_grow_with_its_steps(
    scheduler: SchedulerName, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DDPM.build(Architecture(8, 1, (8, 8), 1, classes=classes, guidance=2.0), seed=0).to("meta")
    monkeypatch.setattr(model, "pictured", lambda samples: np.zeros(samples.shape))

    def waits(steps: int) -> tuple[int, int]:
        with Waits() as counted:
            model.sample(3, seed=0, steps=steps, scheduler=scheduler)
        return counted.reads, counted.copies

    assert waits(12) == waits(6)
    reads, copies = waits(6)
    assert reads == 0
    assert copies <= 4


def like_a_gpu(device: str, monkeypatch: pytest.MonkeyPatch, free: int = 10**9) -> None:
    """Let a device draw noise, and keep images and losses, as CUDA does."""
    monkeypatch.setattr(draws, "DRAWN_THERE", (device,))
    monkeypatch.setattr(generator, "KEPT_THERE", (device,))
    monkeypatch.setattr(generator, "free_memory", lambda device: free)


def without_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the meta device train: no generator exists there, and no loss."""
    seeded = draws.generator_on
    monkeypatch.setattr(
        draws, "generator_on", lambda device, seed: None if device.type == "meta" else seeded(device, seed)
    )
    monkeypatch.setattr(readings, "_read", lambda losses: [[0.0] * len(losses[0])] * len(losses))


@pytest.mark.parametrize("architecture", [PLAIN, ALL])
def test_waits_of_training_do_not_grow_with_its_steps(
    architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    like_a_gpu("meta", monkeypatch)
    without_generators(monkeypatch)
    model = DDPM.build(architecture, seed=0).to("meta")
    monkeypatch.setattr(model, "optimizing", lambda: lambda weights, rate: torch.optim.SGD(weights, rate))

    def waits(steps: int) -> tuple[int, int]:
        with Waits() as counted:
            assert len(model.fit(IMAGES, labels=LABELS, steps=steps, **TRAINING, seed=0)) == steps
        return counted.reads, counted.copies

    waits(1)  # moves the noise schedule
    reads, copies = waits(6)
    assert (reads, copies) == waits(12)
    assert reads == 0


class Memory:
    """A keeper that saves once, after a number of steps."""

    def __init__(self, after: int) -> None:
        self.after, self.state = after, b""

    def load(self) -> bytes | None:
        return self.state or None

    def due(self) -> bool:
        self.after -= 1
        return self.after == 0

    def save(self, state: bytes) -> None:
        self.state = state


def reads_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of losses that are read at a time, at most four, from now on."""
    monkeypatch.setattr(readings, "READ_EVERY", 4)
    sizes, read = [], readings._read
    monkeypatch.setattr(readings, "_read", lambda losses: sizes.append(len(losses)) or read(losses))
    return sizes


def test_a_device_that_draws_repeats_itself_reads_losses_rarely_and_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(**options: Any) -> tuple[list[float], bytes]:
        model = DDPM.build(ALL, seed=0)
        return model.fit(IMAGES, labels=LABELS, steps=9, **TRAINING, seed=3, **options), model.to_bytes()

    on_cpu, memory = trained(), Memory(after=6)
    like_a_gpu("cpu", monkeypatch)
    sizes = reads_of(monkeypatch)
    first = trained()
    assert sizes == [4, 4, 1]
    assert first == trained() == trained(keeper=memory) == trained(keeper=memory)
    assert sizes[6:] == [4, 2, 3, 3]
    assert not np.isclose(first[0], on_cpu[0]).any()
    fits = fit_stacked([DDPM.build(PLAIN, seed=0)], [Shown(IMAGES)], steps=9, **TRAINING, seeds=[3])
    alone = DDPM.build(PLAIN, seed=0).fit(IMAGES, steps=9, **TRAINING, seed=3)
    np.testing.assert_allclose(fits.losses[0], alone, rtol=1e-4)


def test_images_stay_on_a_device_with_room_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, elsewhere = torch.tensor([7, 0, 7]), ScaledImages(IMAGES, torch.device("cpu"))
    assert elsewhere.kept is None
    for free, kept in ((8 * IMAGES.nbytes - 1, False), (8 * IMAGES.nbytes, True)):
        like_a_gpu("cpu", monkeypatch, free)
        monkeypatch.setattr(generator, "COPIED", 3)
        images = ScaledImages(IMAGES, torch.device("cpu"))
        assert (images.kept is not None) == kept
        torch.testing.assert_close(images[rows], elsewhere[rows], rtol=0, atol=0)


def test_training_resumes_only_where_its_noise_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, model = Memory(after=1), DDPM.build(PLAIN, seed=0)
    model.fit(IMAGES, steps=2, **TRAINING, seed=0, keeper=memory)
    memory.state = memory.state.replace(b'\\"drawn\\": \\"cpu\\"', b'\\"drawn\\": \\"gpu\\"')
    with pytest.raises(InputError, match="a device of type gpu; here it is drawn on cpu"):
        model.fit(IMAGES, steps=2, **TRAINING, seed=0, keeper=memory)


def test_restored_moments_have_the_strides_of_their_weights() -> None:
    memory, model = Memory(after=3), DDPM.build(PLAIN, seed=0)
    model.unet.to(memory_format=torch.channels_last)
    kept: list[torch.optim.Optimizer] = []

    def optimizing(weights: list[Tensor], rate: float) -> torch.optim.Optimizer:
        kept.append(denoising.adam(weights, rate))
        return kept[-1]

    object.__setattr__(model, "optimizing", lambda: optimizing)
    losses = model.fit(IMAGES, steps=5, **TRAINING, seed=0, keeper=memory)
    model = DDPM.build(PLAIN, seed=0)
    model.unet.to(memory_format=torch.channels_last)
    object.__setattr__(model, "optimizing", lambda: optimizing)
    assert model.fit(IMAGES, steps=5, **TRAINING, seed=0, keeper=memory) == losses
    for weight, state in kept[-1].state.items():
        assert isinstance(weight, nn.Parameter)
        assert state["exp_avg"].stride() == weight.stride()
