"""Baselines that prune a set as SAVA's paper has them (appendix F.2): EL2N of clean heads, and cluster centres."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from royalty.models.base.checks import check_labelled
from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.encoders.head import descend, descent_rows, moments, prediction_errors
from royalty.models.valuation.item_baselines import check_positive
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.similarity import unit_rows

OFFSETS = 5
"""Positions of the window that are compared, from the easiest to the hardest items."""

CENTRES = (10, 20, 50, 100, 200)
"""Numbers of cluster centres that are compared."""


def el2n_window_values(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    *,
    seed: int,
    kept: float = 0.8,
    epochs: int = 2,
    runs: int = 10,
    progress: Progress | None = None,
) -> ItemValues:
    """How near an item is to the window of EL2N errors whose items train the best classifier.

    Errors are those of heads trained on validation items for a few epochs (`el2n_values` trains them on the training
    items). The window keeps a fraction of the items in the order of their errors; it starts where a head trained on
    the items in it is most often right about validation (Paul et al. 2021, section 4).

    Args:
        train_features, train_labels, val_features, val_labels: as for
            `royalty.models.valuation.item_baselines.confidence_values`.
        seed: of the first weights and the order of the items.
        kept: fraction of the items in the window, in (0, 1].
        epochs: of gradient descent, for errors and windows, at least 1.
        runs: number of runs from different initial weights, at least 1; the error is their mean.
        progress: called with 1 after each run, and after each window.

    Returns:
        Values at most 0, higher is better: minus the distance from the middle of the window, as a fraction of all
        items, so that leaving out the items of lowest value leaves the window first. Diagnostics: `offset`, the
        fraction of items below the window; `accuracy` on validation of the head trained on the items in it.

    Raises:
        InputError: epochs or runs below 1, `kept` out of range, or what `check_labelled` refuses.
    """
    check_labelled(train_features, train_labels, val_features, val_labels)
    check_positive("epochs", epochs)
    check_positive("runs", runs)
    if not (math.isfinite(kept) and 0 < kept <= 1):
        raise InputError(f"the window keeps a fraction of the items, above 0 and up to 1; got {kept}. Take 0.8")
    classes = np.unique(np.concatenate([train_labels, val_labels]))
    targets, val_targets = (np.searchsorted(classes, labels) for labels in (train_labels, val_labels))
    of_val = moments(val_features)
    rows, val_rows = descent_rows(train_features, *of_val), descent_rows(val_features, *of_val)
    shape = rows.shape[1], len(classes)
    generator = np.random.default_rng(seed)
    errors = np.zeros(len(rows))
    for drawn in generator.spawn(runs):
        start = drawn.normal(scale=shape[0] ** -0.5, size=shape)
        *_, weights = descend(val_rows, val_targets, start, epochs=epochs, generator=drawn)
        errors += np.linalg.norm(prediction_errors(rows, targets, weights), axis=1)
        if progress is not None:
            progress(1)
    order, width = np.argsort(errors, kind="stable"), max(1, round(kept * len(rows)))
    best, below = -1.0, 0
    for offset in np.unique(np.linspace(0, len(rows) - width, OFFSETS).round().astype(int)):
        inside = order[offset : offset + width]
        *_, weights = descend(rows[inside], targets[inside], np.zeros(shape), epochs=epochs, generator=generator)
        accuracy = float(((val_rows @ weights).argmax(axis=1) == val_targets).mean())
        if accuracy > best:
            best, below = accuracy, int(offset)
        if progress is not None:
            progress(1)
    rank = np.empty(len(rows))
    rank[order] = np.arange(len(rows))
    values = -np.abs(rank - (below + (width - 1) / 2)) / len(rows)
    return ItemValues(values, {"offset": below / len(rows), "accuracy": best})


def cluster_centre_values(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    val_labels: np.ndarray,
    *,
    seed: int,
    centres: Sequence[int] = CENTRES,
    progress: Progress | None = None,
) -> ItemValues:
    """Cosine distance to the centre of the item's cluster: prototypical items are pruned (Sorscher et al. 2022).

    Centres are those of mini-batch k-means on the training items, and their number is the one at which validation items
    are nearest to a centre, as a rule the largest. Labels are not used, so a wrong one is not seen.

    Args:
        train_features, train_labels, val_features, val_labels: as for
            `royalty.models.valuation.item_baselines.confidence_values`.
        seed: of the first centres and the batches.
        centres: numbers of centres that are compared, as far as there are twice as many items; if there are not, one.
        progress: called with 1 after each number of centres.

    Returns:
        Values in [0, 2], higher is kept first; diagnostics `centres` and `error`, the mean squared distance of
        validation items from the nearest centre, on the unit sphere.

    Raises:
        InputError: what `check_labelled` refuses.
    """
    check_labelled(train_features, train_labels, val_features, val_labels)
    train, val = (unit_rows(np.asarray(side, dtype=np.float64)) for side in (train_features, val_features))
    fitted = []
    for count in [each for each in centres if 2 * each <= len(train)] or [1]:
        clusters = MiniBatchKMeans(count, random_state=seed, n_init=3).fit(train)
        fitted.append((-float(clusters.score(val)) / len(val), count, clusters))
        if progress is not None:
            progress(1)
    error, count, clusters = min(fitted, key=lambda each: each[:2])
    nearest = unit_rows(clusters.cluster_centers_)[clusters.predict(train)]
    values = 1 - np.einsum("id,id->i", train, nearest).clip(-1, 1)
    return ItemValues(values, {"centres": count, "error": error})
