"""Exact Shapley values of single items in the game of the nearest-neighbour classifier."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from royalty.models.base.checks import check_labelled
from royalty.models.base.errors import InputError
from royalty.models.valuation.items import ItemValues

TILE_BYTES = 64 * 2**20
"""Of the distances between all training items and a tile of validation items; a few such arrays are held."""


def knn_shapley_values(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    *,
    k: int = 5,
    progress: Callable[[int], None] | None = None,
) -> ItemValues:
    """Shapley values of v(S) = share of right labels among the k nearest in S (Jia et al. 2019, Theorem 1).

    For one validation item, with training items 1..n from nearest to farthest and r_i = 1 where the label of
    item i is right, else 0:

        s_n = r_n / n,   s_i = s_{i+1} + (r_i - r_{i+1}) / k * min(k, i) / i,

    and the value is the mean over validation items. Where S has fewer than k items, the share is still of k.

    Args:
        train_features: `(items, dimensions)`.
        train_labels: `(items,)`, integers.
        val_features: `(validation items, dimensions)`.
        val_labels: `(validation items,)`, integers.
        k: neighbours, from 1 to the number of training items. Distances are Euclidean; where they agree to
            about ten digits, the earlier training item is the nearer.
        progress: called with the number of validation items done since the last call.

    Returns:
        values in [-1/k, 1/k], higher is better; diagnostics `k` and `accuracy`, the mean share of right labels
        among the k nearest of all training items, which the values sum to.

    Raises:
        InputError: k out of range, or what `check_labelled` refuses.
    """
    check_labelled(train_features, train_labels, val_features, val_labels)
    n = len(train_features)
    if not 1 <= k <= n:
        raise InputError(
            f"k lies between 1 and the number of training items, {n}; got {k}. Take 5, or fewer than items"
        )
    centre = train_features.mean(axis=0, dtype=np.float64)  # keeps the cancellation in |x|^2 - 2 xy + |y|^2 small
    train, val = train_features - centre, val_features - centre
    squares = np.square(train).sum(axis=1)
    rank = np.arange(1, n)
    weights = np.minimum(k, rank) / (k * rank)
    totals, right = np.zeros(n), 0.0
    size = max(1, TILE_BYTES // (8 * n))
    for start in range(0, len(val), size):
        tile = val[start : start + size]
        order = nearest_first(tile, train, squares)  # (tile, items)
        matches = (train_labels[order] == val_labels[start : start + size, None]).astype(np.float64)
        right += matches[:, :k].sum() / k
        values = np.empty_like(matches)  # by rank, as in the recursion
        values[:, -1] = matches[:, -1] / n
        values[:, :-1] = (matches[:, :-1] - matches[:, 1:]) * weights
        values = np.cumsum(values[:, ::-1], axis=1)[:, ::-1]
        totals += np.bincount(order.ravel(), weights=values.ravel(), minlength=n)
        if progress is not None:
            progress(len(tile))
    return ItemValues(totals / len(val), {"k": k, "accuracy": float(right / len(val))})


def nearest_first(points: np.ndarray, train: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Training items from nearest to farthest of each point, int64, `(points, items)`.

    Args:
        points: float64, `(points, dimensions)`.
        train: float64, `(items, dimensions)`.
        squares: squared lengths of `train`, `(items,)`.
    """
    own = np.square(points).sum(axis=1, keepdims=True)
    distances = squares - 2 * points @ train.T + own  # squared, (points, items)
    # Below this is rounding, and copies of a point tie; above zero, as the bits of a negative zero are not in order.
    np.maximum(distances, 1e-13 * own + np.finfo(np.float64).tiny, out=distances)
    # Bits of floats that are not negative are in the order of the floats. With the item's number in the last of
    # them, one plain sort gives a stable order, in a fraction of the time of a stable argsort.
    keys: np.ndarray = distances.view(np.int64)
    number = (1 << max(1, (len(train) - 1).bit_length())) - 1
    keys &= ~number
    keys |= np.arange(len(train))
    keys.sort(axis=1)
    keys &= number
    return keys
