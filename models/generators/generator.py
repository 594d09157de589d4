"""What a generator of images is, to all that trains, prunes, samples and values it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.checkpoints import Weights, no_weights
from royalty.models.base.choices import ImportanceName, PruningScope, SchedulerName
from royalty.models.base.progress import Progress
from royalty.models.data.items import Shown
from royalty.models.generators.pruning import Pruning, Size
from royalty.models.generators.resume import Keeper


class RowCache(Protocol):
    """Keeps rows of numbers by a key and their ids."""

    def lookup(self, key: str, ids: Sequence[str], /) -> tuple[np.ndarray, np.ndarray]:
        """Which of the ids are kept, bool `(len(ids),)`, and their rows in that order, float32 `(found, numbers)`."""

    def add(self, key: str, ids: Sequence[str], rows: np.ndarray, /) -> None:
        """Keep the rows, `(len(ids), numbers)`, of ids that have none yet."""


class MemoryRowCache:
    """Rows of this process."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], np.ndarray] = {}

    def lookup(self, key: str, ids: Sequence[str], /) -> tuple[np.ndarray, np.ndarray]:
        found = [self._rows[key, one] for one in ids if (key, one) in self._rows]
        kept = np.array([(key, one) in self._rows for one in ids], dtype=bool)
        return kept, np.stack(found) if found else np.empty((0, 0), np.float32)

    def add(self, key: str, ids: Sequence[str], rows: np.ndarray, /) -> None:
        for one, row in zip(ids, rows, strict=True):
            self._rows.setdefault((key, one), row)


@torch.no_grad()
def cached_rows(
    rows: RowCache, key: str, ids: Sequence[str], compute: Callable[[np.ndarray], np.ndarray], at_once: int
) -> np.ndarray:
    """Rows of ids, `(len(ids), numbers)`, of which those not kept yet are computed, and kept.

    Args:
        compute: rows of places in `ids`, at most `at_once` of them.
    """
    found, _ = rows.lookup(key, ids)
    first = {ids[row]: row for row in reversed(np.flatnonzero(~found).tolist())}
    missing = np.array(sorted(first.values()), dtype=np.int64)
    if len(missing):
        parts = range(0, len(missing), at_once)
        fresh = np.concatenate([compute(missing[start : start + at_once]) for start in parts])
        rows.add(key, [ids[row] for row in missing], fresh)
    return rows.lookup(key, ids)[1]


@dataclass(frozen=True)
class Resources:
    """What a generator works with that no saved model holds.

    Attributes:
        weights: the folder of a model that it stands on, by name.
        rows: keeps what it computes of images and texts, for the next model that is shown the same.
        device: where it computes.
    """

    weights: Weights = no_weights
    rows: RowCache = field(default_factory=MemoryRowCache)
    device: str = "cpu"


NOTHING_ELSE = Resources()
"""On the CPU, standing on no other model."""


class DivergedError(ValueError):
    """A training has gone astray: the loss of a step, counted from 1, is not finite."""

    def __init__(self, step: int, loss: float, learning_rate: float) -> None:
        super().__init__(
            f"training diverged: the loss of step {step} is {loss}; lower the learning rate, which is {learning_rate}"
        )
        self.step = step


@dataclass(frozen=True)
class Fits:
    """How the training of several models went.

    Attributes:
        losses: float64, `(models, steps)`; not a number after the step that a training ended with.
        diverged: for each model the first step, counted from 1, whose loss is not finite, or else the last, if
            the weights it left are not; or None. The weights of a model that diverged are worth nothing.
    """

    losses: np.ndarray
    diverged: tuple[int | None, ...]


class Generator(Protocol):
    """All that the credit of a generator's contributors asks of it.

    `royalty.models.generators.registry` builds one by its kind, and loads one that was saved.
    """

    KIND: ClassVar[str]

    def fit(
        self,
        images: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        texts: Sequence[str] | None = None,
        steps: int,
        batch_size: int,
        learning_rate: float,
        ema_decay: float,
        seed: int,
        progress: Progress | None = None,
        keeper: Keeper | None = None,
    ) -> list[float]:
        """Train, or finetune, from the current weights, and keep their average; it starts anew with every call.

        Args:
            images, labels, texts: see `Shown`.
            ema_decay: bound of the decay of the average of weights.
            seed: of all that is drawn.
            keeper: keeps the state of a long training, which goes on from there if it was cut off.

        Returns:
            The loss of each step.

        Raises:
            InputError: images that it cannot learn from.
            DivergedError: the loss is no longer finite.
        """

    def fit_many(
        self,
        models: Sequence[Self],
        sets: Sequence[Shown],
        *,
        steps: int,
        batch_size: int,
        learning_rate: float,
        ema_decay: float,
        seeds: Sequence[int],
    ) -> Fits:
        """Train models of this kind and shape, in place, each on its own images from its own seed.

        What a model learns depends on nothing of the others. `fit_one_by_one` is this for any kind.
        """

    def sample(
        self,
        n: int,
        *,
        seed: int,
        steps: int = ...,
        scheduler: SchedulerName = ...,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Generate images: uint8, `(n, channels, height, width)`.

        The initial noise depends on the seed alone, so two models that are sampled with one seed differ only by what
        they learned.

        Args:
            steps, scheduler: of the sampler; a kind without one ignores them.
            progress: called with the number of images done since the last call.
        """

    def prune(
        self,
        ratio: float,
        images: np.ndarray,
        *,
        labels: np.ndarray | None = None,
        importance: ImportanceName = ...,
        scope: PruningScope = ...,
        seed: int = ...,
    ) -> Pruning:
        """Make it smaller, in place.

        Args:
            ratio: share of the parameters to remove, in (0, 1).
            images, labels: that it was trained on, for whoever prunes by their loss.
            importance, scope: see `royalty.models.generators.pruning.prune`.
            seed: of all that is drawn.

        Raises:
            InputError: what this kind cannot be pruned by.
        """

    def untrained(self, *, seed: int) -> Self:
        """A model of this shape, pruned widths included, which has learned from nobody."""

    def copy(self) -> Self:
        """One to train apart; what no training changes may be shared."""

    def size(self) -> Size: ...

    def to_bytes(self) -> bytes:
        """All that `from_bytes` needs beside resources: a payload of `royalty.models.base.serialization` whose
        description has the kind under `kind`; equal models give equal bytes."""

    @classmethod
    def from_bytes(cls, payload: bytes, resources: Resources = ...) -> Self: ...


def fit_one_by_one(
    models: Sequence[Generator], sets: Sequence[Shown], *, steps: int, seeds: Sequence[int], **training: Any
) -> Fits:
    """`Generator.fit_many` for kinds that gain nothing by company."""
    losses = np.full((len(models), steps), math.nan)
    diverged: list[int | None] = []
    for row, (model, shown, seed) in enumerate(zip(models, sets, seeds, strict=True)):
        try:
            losses[row] = model.fit(
                shown.images, labels=shown.labels, texts=shown.texts, steps=steps, seed=seed, **training
            )
            diverged.append(None)
        except DivergedError as error:
            diverged.append(error.step)
    return Fits(losses, tuple(diverged))


def scaled(images: np.ndarray, device: torch.device) -> Tensor:
    """Images of uint8 as floats in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).float().div_(127.5).sub_(1)


class ScaledImages:
    """Images of uint8 as floats in [-1, 1], by rows: of a set that a file is mapped from, one batch is in memory."""

    def __init__(self, images: np.ndarray, device: torch.device) -> None:
        self.images, self.device = images, device

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return scaled(self.images[rows.numpy()], self.device)


def quantized(images: Tensor) -> np.ndarray:
    """Floats, of which those beyond [-1, 1] are cut off, as images of uint8."""
    whole: np.ndarray = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
    return whole


def batches(items: int, batch_size: int, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Batches of positions, epoch after epoch; a set smaller than a batch is repeated within it.

    The generator is of the CPU, as all that a generator of images draws from: a seed stands for the same batches and
    noise on every device.
    """
    needed = steps * batch_size
    epochs = -(-needed // items)
    order = torch.cat([torch.randperm(items, generator=generator) for _ in range(epochs)])
    return list(order[:needed].view(steps, batch_size))
