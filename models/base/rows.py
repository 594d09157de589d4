"""Rows of features that are read when they are used, so that no copy of a large set is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

PIECE = 8192
"""Rows that are read at a time."""


class Rows:
    """Rows of several matrices of features, one after the other; indexing reads them as an array.

    Args:
        parts: matrices, `(items, d)`, possibly memory maps or `Rows` themselves, and the positions of their rows.
    """

    def __init__(self, *parts: tuple[Features, np.ndarray]) -> None:
        self.parts = [features for features, _ in parts]
        starts = np.cumsum([0, *(len(features) for features in self.parts)])
        self.starts, self.ends = starts[:-1], starts[1:]
        self.places = np.concatenate([start + rows for start, (_, rows) in zip(starts, parts, strict=False)])
        self.dtype: np.dtype[Any] = np.result_type(*(features.dtype for features in self.parts))
        self.shape: tuple[int, int] = len(self.places), self.parts[0].shape[1]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> np.ndarray:
        """The rows of a slice, of positions or of a mask, `(rows, d)`."""
        places = self.places[index]
        found = np.empty((len(places), self.shape[1]), self.dtype)
        for features, start, end in zip(self.parts, self.starts, self.ends, strict=True):
            own = (start <= places) & (places < end)
            if own.any():
                found[own] = features[places[own] - start]
        return found


Features = np.ndarray | Rows
"""Features, `(items, d)`, in memory, in a file, or as rows of others."""


def pieces(features: Features) -> Iterator[np.ndarray]:
    """The rows, in order, `PIECE` at a time."""
    for start in range(0, len(features), PIECE):
        yield features[start : start + PIECE]
