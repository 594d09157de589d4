"""Class shares of both sides, on which values by transport depend, and values within classes, which depend less.

If a class has a larger share in training than in validation, transport moves its excess to other classes. All items of
the class then look worse, whatever their labels, and those of classes with too small a share look better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_MASS = 0.05
"""The fraction of the mass between classes from which shares are said to differ. Wrong labels of three easy classes,
which LAVA finds with an AUROC of 1 where shares agree, have about 0.9 there (`tests/models/test_class_shares.py`)."""


@dataclass(frozen=True)
class ClassShares:
    """Fractions of the items that have each label.

    Attributes:
        labels: the labels of both sides, `(labels,)`, those whose shares differ most first.
        train, val: their fractions on each side.
        mass: the fraction of the items that transport has to move to another label, in [0, 1].
    """

    labels: np.ndarray
    train: np.ndarray
    val: np.ndarray
    mass: float

    @property
    def differ(self) -> bool:
        """Whether values depend on shares so much that a reader must know."""
        return self.mass >= LEAST_MASS


def class_shares(train_labels: np.ndarray, val_labels: np.ndarray) -> ClassShares:
    """Compare the class shares of both sides.

    Args:
        train_labels, val_labels: `(items,)`, at least one item each.
    """
    labels = np.unique(np.concatenate([train_labels, val_labels]))
    train, val = (
        np.bincount(np.searchsorted(labels, side), minlength=len(labels)) / len(side)
        for side in (train_labels, val_labels)
    )
    order = np.argsort(-np.abs(train - val), kind="stable")
    return ClassShares(labels[order], train[order], val[order], float(np.abs(train - val).sum() / 2))


def within_class(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each value less the median of the values of its class: float64, `(items,)`; higher is more valuable.

    Args:
        values, labels: `(items,)`.
    """
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = np.split(values[np.argsort(classes, kind="stable")], np.cumsum(counts)[:-1])
    centred: np.ndarray = values - np.array([np.median(members) for members in by_class])[classes]
    return centred
