"""Folds of clean items for cross-fitting, in which copies stay together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.base.rows import Features, pieces
from royalty.models.valuation.content import content_keys


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
    train_features: Features, val_features: Features, val_labels: np.ndarray, folds: int, seed: int
) -> Folds:
    """Divide the clean items into folds. Items with equal features share a fold; each label is spread over the folds.

    Raises:
        InputError: folds out of range.
    """
    keys, first, group = np.unique(content_keys(val_features), return_index=True, return_inverse=True)
    if not 2 <= folds <= len(keys):
        raise InputError(
            f"folds lie between 2 and the number of validation items that differ, {len(keys)}; got {folds}. "
            "Take 5, or add validation items"
        )
    appearing = np.argsort(first)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(keys)), val_labels[first[appearing]]))
    fold_of_group = np.empty(len(keys), dtype=np.int64)
    fold_of_group[appearing[order]] = np.arange(len(keys)) % folds
    train_keys = content_keys(train_features)
    copied = np.minimum(np.searchsorted(keys, train_keys), len(keys) - 1)
    return Folds(fold_of_group[group], np.where(keys[copied] == train_keys, fold_of_group[copied], -1))


def row_bytes(features: Features) -> Iterator[bytes]:
    """Keys of rows, equal for equal rows of any type; adding zero turns -0.0 into 0.0."""
    return (row.tobytes() for piece in pieces(features) for row in piece.astype(np.float64) + 0.0)
