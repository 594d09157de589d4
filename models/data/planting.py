"""Equal class shares on both sides of a set with planted corruptions.

A corruption such as a backdoor adds items to one class. A score that knows nothing but the class shares of both sides
then finds it. So clean items are left out until every class has the same share on both sides, exactly.
"""

from __future__ import annotations

import numpy as np

from royalty.models.base.errors import InputError

UNITS = 20
"""Most parts of the largest class in which shares are counted; fewer where more items can then be kept."""

LEAST_ITEMS = 2
"""Fewest items of a class on each side."""


def equal_shares(
    labels: np.ndarray, planted: np.ndarray, val_labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the items to keep on both sides, sorted, so that each class has the same share on both.

    Clean training items are left out first; planted ones only if a class has more of them than it keeps items. The
    shares are those of validation, rounded so that as many items as possible are kept. Validation items of classes that
    training lacks are left out.

    Args:
        labels, planted: of the training items, `(items,)`.

    Raises:
        InputError: a class is too small, or validation lacks it.
    """
    generator = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    val_counts = np.array([(val_labels == label).sum() for label in classes])
    units, times, val_times = max(
        (_parts(most, counts, val_counts) for most in range(1, UNITS + 1)),
        key=lambda kept: min(kept[1] * kept[0].sum() / len(labels), kept[2] * kept[0].sum() / len(val_labels)),
    )
    if (units * min(times, val_times)).min() < LEAST_ITEMS:
        scarce = np.minimum(counts, val_counts).argmin()
        raise InputError(
            f"class shares are kept by leaving out clean items, and each label needs at least {LEAST_ITEMS} items on "
            f"each side; label {classes[scarce]} has {counts[scarce]} training and {val_counts[scarce]} validation "
            "items. Draw more items, or set `planting.class_shares: changed`"
        )
    rows, val_rows = [], []
    for label, unit in zip(classes, units, strict=True):
        members = generator.permutation(np.flatnonzero(labels == label))
        planted_first = members[np.argsort(~planted[members], kind="stable")]
        rows.append(planted_first[: unit * times])
        val_rows.append(generator.permutation(np.flatnonzero(val_labels == label))[: unit * val_times])
    return np.sort(np.concatenate(rows)), np.sort(np.concatenate(val_rows))


def _parts(most: int, counts: np.ndarray, val_counts: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Sizes of the classes in parts, `(classes,)`, of which the largest has `most`; how often each side has them."""
    units = np.maximum(1, np.round(most * val_counts / val_counts.max()).astype(int))
    return units, int((counts // units).min()), int((val_counts // units).min())


def share_values(labels: np.ndarray, val_labels: np.ndarray) -> np.ndarray:
    """Minus the logarithm of a class's share in training over that in validation: a control that sees no item.

    It is the same for all items if the shares are equal, and then finds nothing.
    """
    classes, places = np.unique(labels, return_inverse=True)
    counts = np.bincount(places)
    val_counts = np.array([(val_labels == label).sum() for label in classes])
    # Products of integers, so that equal shares are equal numbers.
    values: np.ndarray = -np.log((counts * len(val_labels)) / (val_counts * len(labels)))
    return values[places]
