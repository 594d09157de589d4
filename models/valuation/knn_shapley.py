"""Exact Shapley values of single items for the accuracy of a nearest-neighbour classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_features, as_labels, as_whole
from royalty.models.base.checks import check_labelled
from royalty.models.base.errors import InputError
from royalty.models.valuation.items import ItemValues

TILE_BYTES = 64 * 2**20
"""Memory for the distances between all training items and a tile of validation items; there are a few such arrays."""

SEARCHED = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
"""Numbers of neighbours that are compared to find one."""


def knn_shapley_values(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    val_features: ArrayLike,
    val_labels: ArrayLike,
    *,
    k: int | Literal["auto"] = 5,
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
            to about ten digits, the earlier training item counts as nearer. `auto` takes, of the numbers up to 89 in
            the Fibonacci sequence, the one by which most validation items are classified rightly by the other
            validation items; of equally good ones, the largest.
        progress: called with the number of validation items done since the last call.

    Returns:
        Values in [-1/k, 1/k], higher is better; they sum to `accuracy`. Diagnostics: `k`; `accuracy`, the mean
        fraction of right labels among the k nearest of all training items; and with `auto`, `left_out_accuracy`, the
        fraction of validation items that the others classify rightly.

    Raises:
        InputError: k out of range; fewer than two validation items with `auto`; no items; not one label for each item;
            features of different dimensions, not finite, or all equal; a training label that no validation item has.

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
    check_labelled(train_features, train_labels, val_features, val_labels)
    n = len(train_features)
    searched: dict[str, float] = {}
    if k == "auto":
        k, accuracy = searched_k(val_features, val_labels, n)
        searched = {"left_out_accuracy": accuracy}
    k = as_whole(k, "k")
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
    return ItemValues(totals / len(val), {"k": k, "accuracy": float(correct / len(val)), **searched})


def searched_k(val_features: np.ndarray, val_labels: np.ndarray, most: int) -> tuple[int, float]:
    """The number of neighbours by which most validation items get their label from the others, and their fraction.

    The label of most of the k nearest other items counts; of labels that are equally frequent, each in part.

    Args:
        val_features, val_labels: `(items, dimensions)` and `(items,)`.
        most: largest k.

    Raises:
        InputError: fewer than two validation items.
    """
    count = len(val_labels)
    if count < 2:
        raise InputError(
            f"`k` is searched by leaving one of at least two validation items out; got {count}. Give more, or a number "
            "for `k`"
        )
    candidates = [k for k in SEARCHED if k <= min(count - 1, most)]
    classes, numbers = np.unique(val_labels, return_inverse=True)
    right = np.zeros(len(candidates))
    for rows, nearest in _nearest_others(val_features, candidates[-1]):
        votes, last = np.zeros((len(rows), len(classes))), 0
        for place, k in enumerate(candidates):
            for column in numbers[nearest[:, last:k]].T:
                votes[np.arange(len(rows)), column] += 1
            last = k
            winners = votes == votes.max(axis=1, keepdims=True)
            right[place] += (winners[np.arange(len(rows)), numbers[rows]] / winners.sum(axis=1)).sum()
    best = int(np.flatnonzero(right >= right.max() - 1e-9)[-1])  # sums of parts are rounded
    return candidates[best], float(right[best] / count)


def _nearest_others(features: np.ndarray, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tiles of rows, and of the k nearest other rows of each, nearest first, `(rows, k)`."""
    centred = features - features.mean(axis=0, dtype=np.float64)
    squares, size = np.square(centred).sum(axis=1), max(1, TILE_BYTES // (8 * len(features)))
    for start in range(0, len(features), size):
        rows = np.arange(start, min(start + size, len(features)))
        nearest = nearest_first(centred[rows], centred, squares)
        yield rows, nearest[nearest != rows[:, None]].reshape(len(rows), -1)[:, :k]


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
