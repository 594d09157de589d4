"""The random draws of a training: of its batches on the CPU, and of the rest there or on the GPU that trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from royalty.models.generators.generator import ScaledImages, batches
from royalty.models.generators.unets import DIFFUSION_STEPS

DRAWN_THERE = ("cuda",)
"""Device types on which noise, timesteps, mirrorings and hidden classes are drawn.

A copy from the CPU in each step would wait for the step before. The draws of a seed differ from those of a CPU, and
repeat on a GPU of the same kind. Batches are the same everywhere, and so is the noise that sampling starts from.
"""

BLOCK = 256
"""Batches whose rows are copied to a device at once."""

UNLABELLED = 0.1
"""Fraction of training images whose class is hidden, so that the net also learns the unconditional prediction."""


class Drawn(NamedTuple):
    """What one step draws.

    Attributes:
        noise: `(models, batch, c, h, w)`.
        times: int64, `(models, batch)`.
        mirrored, hidden: which images are mirrored, and whose classes are hidden: bool, `(models, batch)`; or None.
    """

    noise: Tensor
    times: Tensor
    mirrored: Tensor | None
    hidden: Tensor | None


class Draws:
    """The draws of models that are trained side by side, each from its own seed.

    Attributes:
        apart: whether the device is one of `DRAWN_THERE`.
        generators: one for each model, for all draws but, on such a device, those of the batches.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.device = device
        self.apart = device.type in DRAWN_THERE
        self.place = device if self.apart else torch.device("cpu")
        self._of_batches = [generator_on(torch.device("cpu"), seed) for seed in seeds]
        self.generators = [generator_on(device, seed) for seed in seeds] if self.apart else self._of_batches

    def plans(self, sets: Sequence[Tensor | ScaledImages], batch_size: int, steps: int) -> list[Iterator[Tensor]]:
        """For each model the rows of its data in each batch, on the device that holds the data."""
        return [
            _placed(
                batches(len(data), batch_size, steps, generator),
                data.device if isinstance(data, Tensor) else data.place,
            )
            for data, generator in zip(sets, self._of_batches, strict=True)
        ]

    def step(self, shape: Sequence[int], *, flip: bool, hide: bool) -> Drawn:
        """The draws of the next step.

        Args:
            shape: of the images of a model: batch, channels, height and width.
        """
        noise, times, mirrored, hidden = [], [], [], []
        images, batch, place = tuple(shape), tuple(shape[:1]), self.place
        for generator in self.generators:
            noise.append(torch.randn(images, generator=generator, device=place))
            times.append(torch.randint(DIFFUSION_STEPS, batch, generator=generator, device=place))
            if flip:
                mirrored.append(torch.rand(batch, generator=generator, device=place) < 0.5)
            if hide:
                hidden.append(torch.rand(batch, generator=generator, device=place) < UNLABELLED)
        return Drawn(
            self._stacked(noise),
            self._stacked(times),
            self._stacked(mirrored) if flip else None,
            self._stacked(hidden) if hide else None,
        )

    def normal(self, shape: Sequence[int], model: int = 0) -> Tensor:
        """Standard normal numbers of a model."""
        return torch.randn(tuple(shape), generator=self.generators[model], device=self.place).to(self.device)

    def uniform(self, count: int, model: int = 0) -> Tensor:
        """Numbers of a model in [0, 1)."""
        return torch.rand(count, generator=self.generators[model], device=self.place).to(self.device)

    def below(self, end: int, count: int, model: int = 0) -> Tensor:
        """Whole numbers of a model from 0 to below an end."""
        return torch.randint(end, (count,), generator=self.generators[model], device=self.place).to(self.device)

    def _stacked(self, parts: list[Tensor]) -> Tensor:
        return torch.stack(parts).to(self.device)


def generator_on(device: torch.device, seed: int) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def _placed(plan: list[Tensor], device: torch.device) -> Iterator[Tensor]:
    for start in range(0, len(plan), BLOCK):
        yield from torch.stack(plan[start : start + BLOCK]).to(device)
