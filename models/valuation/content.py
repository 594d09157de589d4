"""Samples that the content of items determines: equal sets have equal samples, in any order and number of copies.

Each item has a pseudo-random key, computed from its features. A sample holds the distinct items of lowest keys,
weighted by their copies, so that samples of parts of a set merge into that of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from royalty.models.base.rows import Features, pieces


@dataclass(frozen=True)
class Sample:
    """Distinct items, in the order of their keys.

    Attributes:
        features: `(items, d)`.
        labels: `(items,)`; None if they are not told apart.
        keys: uint64, `(items,)`, ascending.
        counts: number of copies of each, `(items,)`.
    """

    features: np.ndarray
    labels: np.ndarray | None
    keys: np.ndarray
    counts: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """The fraction of the items that each stands for, `(items,)`."""
        weights: np.ndarray = self.counts / self.counts.sum()
        return weights

    def merged(self, other: Self, most: int) -> Sample:
        """The sample of both sets together."""
        labels = None if self.labels is None or other.labels is None else np.concatenate([self.labels, other.labels])
        pairs = [(self.features, other.features), (self.keys, other.keys), (self.counts, other.counts)]
        features, keys, counts = (np.concatenate(pair) for pair in pairs)
        return sampled(features, keys, most, labels=labels, counts=counts)


def sampled(
    features: np.ndarray,
    keys: np.ndarray,
    most: int,
    *,
    labels: np.ndarray | None = None,
    counts: np.ndarray | None = None,
) -> Sample:
    """The distinct items of lowest keys, at most `most`.

    Args:
        features: `(items, d)`.
        keys: `(items,)`, by `content_keys`.
        labels: `(items,)`, which `keys` tell apart; see `with_labels`.
        counts: copies of each item, `(items,)`; one by default.
    """
    distinct, first, places = np.unique(keys, return_index=True, return_inverse=True)
    copies = np.bincount(places, weights=counts)[:most]
    rows = first[:most]
    return Sample(features[rows], None if labels is None else labels[rows], distinct[:most], copies)


def content_keys(features: Features, *, seed: int = 0) -> np.ndarray:
    """Pseudo-random numbers of items, uint64, `(items,)`: equal for equal features, in any floating-point precision.

    Args:
        features: `(items, d)`, finite.
        seed: each one gives other numbers.
    """
    factors = np.random.default_rng(seed).integers(0, 2**64, size=features.shape[1], dtype=np.uint64) | np.uint64(1)
    keys = []
    for piece in pieces(features):
        bits = (piece.astype(np.float64) + 0.0).view(np.uint64)  # adding zero removes the sign of -0.0
        bits ^= bits >> np.uint64(32)  # the low bits of a float32 are zero
        keys.append(_mixed((bits * factors).sum(axis=1, dtype=np.uint64)))
    return np.concatenate(keys)


def with_labels(keys: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Keys of items that are equal in their features and their label, uint64, `(items,)`; without labels, `keys`."""
    return keys if labels is None else _mixed(keys + _mixed(labels.astype(np.int64).view(np.uint64)))


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele et al. 2014): every bit of the result depends on every bit of the number."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return result
