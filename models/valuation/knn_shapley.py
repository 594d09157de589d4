"""Exact Shapley values of single items for the accuracy of a nearest-neighbour classifier."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_features, as_labels, as_whole
from royalty.models.base.checks import check_labelled
from royalty.models.base.errors import InputError
from royalty.models.valuation.items import ItemValues

TILE_BYTES = 64 * 2**20
"""Memory for the distances between all training items and a tile of validation items; there are a few such arrays."""


def knn_shapley_values(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    val_features: ArrayLike,
    val_labels: ArrayLike,
    *,
    k: int = 5,
    progress: Callable[[int], None] | None = None,
) -> ItemValues:
    """Compute Shapley values of v(S), the fraction of right labels among the k nearest items in S.

    Jia et al. 2019, Theorem 1. For one validation item, with training items 1..n from nearest to farthest and r_i = 1
    if the label of item i is right, else 0:

        s_n = r_n / n,   s_i = s_{i+1} + (r_i - r_{i+1}) / k * min(k, i) / i,

    and the value is the mean over validation items. If S has fewer than k items, the number of right labels is still
    divided by k.

    Args:
        train_features: `(items, dimensions)`.
        train_labels: `(items,)`, integers.
        val_features: `(validation items, dimensions)`.
        val_labels: `(validation items,)`, integers.
        k: number of neighbours, from 1 to the number of training items. Distances are Euclidean. If two distances agree
            to about ten digits, the earlier training item counts as nearer.
        progress: called with the number of validation items done since the last call.

    Returns:
        Values in [-1/k, 1/k], higher is better; they sum to `accuracy`. Diagnostics: `k`, and `accuracy`, the mean
        fraction of right labels among the k nearest of all training items.

    Raises:
        InputError: k out of range; no items; not one label for each item; features of different dimensions, not finite,
            or all equal; a training label that no validation item has.

    Examples:
        The item with a wrong label, the third, has the lowest value:

        >>> import royalty
        >>> train, labels = [[0.0], [0.1], [0.2], [1.0], [1.1]], [0, 0, 1, 1, 1]
        >>> values = royalty.knn_shapley_values(train, labels, [[0.05], [0.15], [1.05]], [0, 0, 1], k=2).values
        >>> int(values.argmin())
        2
    """
    train_features, val_features = (
        as_features(train_features, "train_features"),
        as_features(val_features, "val_features"),
    )
    train_labels, val_labels = as_labels(train_labels, "train_labels"), as_labels(val_labels, "val_labels")
    k = as_whole(k, "k")
    check_labelled(train_features, train_labels, val_features, val_labels)
    n = len(train_features)
    if not 1 <= k <= n:
        raise InputError(f"k lies between 1 and the number of training items, {n}; got {k}. Take {min(5, n)}")
    centre = train_features.mean(axis=0, dtype=np.float64)  # keeps the cancellation in |x|^2 - 2 xy + |y|^2 small
    train, val = train_features - centre, val_features - centre
    squares = np.square(train).sum(axis=1)
    rank = np.arange(1, n)
    weights = np.minimum(k, rank) / (k * rank)
    totals, correct = np.zeros(n), 0.0
    size = max(1, TILE_BYTES // (8 * n))
    for start in range(0, len(val), size):
        tile = val[start : start + size]
        order = nearest_first(tile, train, squares)  # (tile, items)
        matches = (train_labels[order] == val_labels[start : start + size, None]).astype(np.float64)
        correct += matches[:, :k].sum() / k
        values = np.empty_like(matches)  # by rank, as in the recursion
        values[:, -1] = matches[:, -1] / n
        values[:, :-1] = (matches[:, :-1] - matches[:, 1:]) * weights
        values = np.cumsum(values[:, ::-1], axis=1)[:, ::-1]
        totals += np.bincount(order.ravel(), weights=values.ravel(), minlength=n)
        if progress is not None:
            progress(len(tile))
    return ItemValues(totals / len(val), {"k": k, "accuracy": float(correct / len(val))})


def nearest_first(points: np.ndarray, train: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Sort the training items by their distance from each point, nearest first: int64, `(points, items)`.

    Args:
        points: float64, `(points, dimensions)`.
        train: float64, `(items, dimensions)`.
        squares: squared lengths of `train`, `(items,)`.
    """
    point_squares = np.square(points).sum(axis=1, keepdims=True)
    distances = squares - 2 * points @ train.T + point_squares  # squared, (points, items)
    # Smaller distances are rounding errors; with this lower bound, copies of a point tie. The bound is above zero
    # because the bits of a negative zero would break the order.
    np.maximum(distances, 1e-13 * point_squares + np.finfo(np.float64).tiny, out=distances)
    # The bits of nonnegative floats, read as integers, have the order of the floats. With the item's number in the
    # lowest bits, one plain sort gives a stable order in a fraction of the time of a stable argsort.
    keys: np.ndarray = distances.view(np.int64)
    number_bits = (1 << max(1, (len(train) - 1).bit_length())) - 1
    keys &= ~number_bits
    keys |= np.arange(len(train))
    keys.sort(axis=1)
    keys &= number_bits
    return keys
