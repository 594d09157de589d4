"""Rows of items that are read when they are needed, so that an index never has all of them in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from royalty.models.retrieval.earlier import thumbnails


class Features(Protocol):
    """Rows of numbers, `(items, dimensions)`: an array, or what reads them from disk on access."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Chosen:
    """Some rows of features, read on access."""

    features: Features
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.rows), *self.features.shape[1:]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self.features[self.rows[rows]]


@dataclass(frozen=True)
class Thumbnails:
    """Thumbnails of some images, made on access."""

    images: np.ndarray
    rows: np.ndarray

    def __getitem__(self, rows: Any) -> np.ndarray:
        return thumbnails(self.images[self.rows[rows]])


@dataclass(frozen=True)
class Kept:
    """Rows of the arrays of several mapped shards, read on access."""

    parts: Sequence[np.ndarray]
    kept: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.kept), *self.parts[0].shape[1:]

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, rows: Any) -> np.ndarray:
        numbers, first, blocks = self.kept[rows], 0, []
        for part in self.parts:  # numbers ascend, so the blocks are in their order
            inside = numbers[(numbers >= first) & (numbers < first + len(part))] - first
            blocks.append(part[inside])
            first += len(part)
        joined: np.ndarray = np.concatenate(blocks)
        return joined
