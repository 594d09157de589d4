"""The interface of image generators, shared by training, pruning, sampling and valuation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from royalty.models.base.choices import ImportanceName, PruningScope, SchedulerName
from royalty.models.base.progress import Progress
from royalty.models.base.weights import Weights, no_weights
from royalty.models.data.items import Shown
from royalty.models.generators.memory import free_memory
from royalty.models.generators.pruning import Pruning, Size
from royalty.models.generators.resume import Keeper

KEPT_THERE = ("cuda",)
"""Device types that keep the training images if they take at most this share of the free memory."""
KEPT_SHARE = 0.125

COPIED = 4096
"""Images copied to a device at once."""


class RowCache(Protocol):
    """A cache of number vectors, addressed by a key and an id for each row."""

    def lookup(self, key: str, ids: Sequence[str], /) -> tuple[np.ndarray, np.ndarray]:
        """Look up rows by id.

        Returns:
            Whether each id is cached, bool `(len(ids),)`; and the cached rows in that order, float32 `(hits, numbers)`.
        """

    def add(self, key: str, ids: Sequence[str], rows: np.ndarray, /) -> None:
        """Store rows, `(len(ids), numbers)`; ids that already have a row keep it."""


class MemoryRowCache:
    """A row cache in the memory of this process."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], np.ndarray] = {}

    def lookup(self, key: str, ids: Sequence[str], /) -> tuple[np.ndarray, np.ndarray]:
        rows = [self._rows[key, row_id] for row_id in ids if (key, row_id) in self._rows]
        cached = np.array([(key, row_id) in self._rows for row_id in ids], dtype=bool)
        return cached, np.stack(rows) if rows else np.empty((0, 0), np.float32)

    def add(self, key: str, ids: Sequence[str], rows: np.ndarray, /) -> None:
        for row_id, row in zip(ids, rows, strict=True):
            self._rows.setdefault((key, row_id), row)


@torch.no_grad()
def cached_rows(
    cache: RowCache, key: str, ids: Sequence[str], compute: Callable[[np.ndarray], np.ndarray], batch_size: int
) -> np.ndarray:
    """Rows of ids, `(len(ids), numbers)`; those not in the cache are computed and added to it.

    Args:
        compute: from at most `batch_size` positions in `ids` to their rows.
    """
    cached, _ = cache.lookup(key, ids)
    # An id that occurs several times is computed once, at its first position.
    first = {ids[row]: row for row in reversed(np.flatnonzero(~cached).tolist())}
    missing = np.array(sorted(first.values()), dtype=np.int64)
    if len(missing):
        parts = range(0, len(missing), batch_size)
        computed = np.concatenate([compute(missing[start : start + batch_size]) for start in parts])
        cache.add(key, [ids[row] for row in missing], computed)
    return cache.lookup(key, ids)[1]


@dataclass(frozen=True)
class Resources:
    """What a generator needs at run time and does not save with the model.

    Attributes:
        weights: finds the folder of a base model by its name.
        rows: cache of what is computed from images and texts, shared by all models.
        device: torch device.
    """

    weights: Weights = no_weights
    rows: RowCache = field(default_factory=MemoryRowCache)
    device: str = "cpu"


NOTHING_ELSE = Resources()
"""The CPU, and no base model."""


class DivergedError(ValueError):
    """Training diverged: the loss of a step, counted from 1, is not finite."""

    def __init__(self, step: int, loss: float, learning_rate: float) -> None:
        super().__init__(
            f"training diverged: the loss of step {step} is {loss}; lower the learning rate, which is {learning_rate}"
        )
        self.step = step


@dataclass(frozen=True)
class Fits:
    """The outcome of training several models.

    Attributes:
        losses: float64, `(models, steps)`; NaN after the step at which a training stopped.
        diverged: for each model, None, or the first step, counted from 1, whose loss is not finite; the last step if
            only the final weights are not finite. The weights of a diverged model must not be used.
    """

    losses: np.ndarray
    diverged: tuple[int | None, ...]


class Generator(Protocol):
    """The operations on a generator that valuing its contributors needs.

    `royalty.models.generators.registry` builds a generator by its kind and loads a saved one.
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
        """Train, or finetune, from the current weights, and end with their moving average.

        The average starts anew with every call.

        Args:
            images, labels, texts: see `Shown`.
            ema_decay: upper bound of the decay of the moving average of weights.
            seed: of all random draws.
            keeper: saves the state of a long training, so that an interrupted one can resume.

        Returns:
            The loss of each step.

        Raises:
            InputError: this kind cannot learn from these images.
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
        """Train models of this kind and shape, in place, each on its own images and with its own seed.

        Except for rounding, the result of a model does not depend on the others. `fit_one_by_one` is an implementation
        for any kind.
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

        The initial noise depends on the seed alone, so samples of two models with the same seed differ only by what
        the models learned.

        Args:
            steps, scheduler: of the sampler; ignored by kinds that have none.
            progress: called with the number of images done since the last call.
        """

    def asked(self, label_names: Sequence[str]) -> tuple[str, ...]:
        """The labels or prompts that `sample` generates images for, in turn; empty if the model is told nothing.

        Args:
            label_names: of the labels that the model was trained with.
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
        """Remove parameters, in place.

        Args:
            ratio: fraction of the parameters to remove, in (0, 1).
            images, labels: the training set, for an importance that is measured on its loss.
            importance, scope: see `royalty.models.generators.pruning.prune`.
            seed: of all random draws.

        Raises:
            InputError: this kind does not support the importance or scope.
        """

    def untrained(self, *, seed: int) -> Self:
        """A model of this shape, pruned widths included, with random weights."""

    def copy(self) -> Self:
        """A copy that can be trained separately; frozen parts may be shared."""

    def size(self) -> Size: ...

    def to_bytes(self) -> bytes:
        """Serialize the model: a payload of `royalty.models.base.serialization` with `kind` in its description.

        `from_bytes` needs only this and the resources. Equal models give equal bytes.
        """

    @classmethod
    def from_bytes(cls, payload: bytes, resources: Resources = ...) -> Self: ...


class Sampler(Protocol):
    """The model of a coalition, as far as measuring it goes: a generator, or what is made of others."""

    def sample(self, n: int, *, seed: int, steps: int = ..., scheduler: SchedulerName = ...) -> np.ndarray:
        """See `Generator.sample`."""

    def asked(self, label_names: Sequence[str]) -> tuple[str, ...]:
        """See `Generator.asked`."""

    def to_bytes(self) -> bytes:
        """See `Generator.to_bytes`. Models that this one is made of are saved by themselves, and named by digest."""


def fit_one_by_one(
    models: Sequence[Generator], sets: Sequence[Shown], *, steps: int, seeds: Sequence[int], **training: Any
) -> Fits:
    """`Generator.fit_many` for kinds that gain nothing from training models together."""
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
    """Convert uint8 images to floats in [-1, 1]."""
    return _unit(torch.from_numpy(np.ascontiguousarray(images)).to(device))


def _unit(pixels: Tensor) -> Tensor:
    return pixels.float().div_(127.5).sub_(1)


def _copied(images: np.ndarray, device: torch.device) -> Tensor:
    """Bytes of images on a device; a memory map is read in parts."""
    kept = torch.empty(images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), COPIED):
        kept[start : start + COPIED] = torch.from_numpy(np.ascontiguousarray(images[start : start + COPIED]))
    return kept


class ScaledImages:
    """uint8 images that are converted to floats in [-1, 1] when indexed; of a memory map, only those rows are read.

    On a GPU that has the memory for them, the bytes of all images are kept, so that a batch is no copy.

    Args:
        patch: see `royalty.models.generators.unets.Architecture`.

    Attributes:
        place: the device that holds the images, where indices are best.
    """

    def __init__(self, images: np.ndarray, device: torch.device, patch: int = 1) -> None:
        self.images, self.device, self.patch = images, device, patch
        kept = device.type in KEPT_THERE and images.nbytes <= KEPT_SHARE * free_memory(device)
        self.kept = _copied(images, device) if kept else None
        self.place = device if kept else torch.device("cpu")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor) -> Tensor:
        if self.kept is not None:
            pixels = _unit(self.kept[rows.to(self.device)])
        else:
            pixels = scaled(self.images[rows.numpy()], self.device)
        return nn.functional.pixel_unshuffle(pixels, self.patch)


def quantized(images: Tensor) -> np.ndarray:
    """Convert floats to uint8 images, clipped to [-1, 1]."""
    pixels: np.ndarray = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
    return pixels


def batches(items: int, batch_size: int, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Batches of positions, epoch after epoch; a set smaller than a batch is repeated within it.

    Args:
        generator: on the CPU, like all random generators here, so that a seed gives the same batches on every device.
    """
    needed = steps * batch_size
    epochs = -(-needed // items)
    order = torch.cat([torch.randperm(items, generator=generator) for _ in range(epochs)])
    return list(order[:needed].view(steps, batch_size))
