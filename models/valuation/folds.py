"""Folds of clean items for cross-fitting, in which copies stay together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from royalty.models.base.errors import InputError


@dataclass(frozen=True)
class Folds:
    """The folds of the clean items, and of the training items that are copies of them.

    Attributes:
        clean: fold of each clean item, `(clean items,)`.
        train: fold of the clean item that a training item is a copy of, `(items,)`; -1 for other items.
    """

    clean: np.ndarray
    train: np.ndarray


def clean_folds(
    train_features: np.ndarray, val_features: np.ndarray, val_labels: np.ndarray, folds: int, seed: int
) -> Folds:
    """Divide the clean items into folds. Items with equal features share a fold; each label is spread over the folds.

    Raises:
        InputError: folds out of range.
    """
    numbers: dict[bytes, int] = {}
    group = np.array([numbers.setdefault(row, len(numbers)) for row in row_bytes(val_features)])
    if not 2 <= folds <= len(numbers):
        raise InputError(
            f"folds lie between 2 and the number of validation items that differ, {len(numbers)}; got {folds}. "
            "Take 5, or add validation items"
        )
    _, first = np.unique(group, return_index=True)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(first)), val_labels[first]))
    fold_of_group = np.empty(len(first), dtype=np.int64)
    fold_of_group[order] = np.arange(len(first)) % folds
    copies = np.array([numbers.get(row, -1) for row in row_bytes(train_features)])
    return Folds(fold_of_group[group], np.where(copies >= 0, fold_of_group[copies], -1))


def row_bytes(features: np.ndarray) -> Iterator[bytes]:
    """Keys of rows, equal for equal rows of any type; adding zero turns -0.0 into 0.0."""
    return ((row.astype(np.float64) + 0.0).tobytes() for row in features)
