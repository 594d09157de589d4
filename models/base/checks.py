"""Checks of features and labels, for methods that compare items by them."""

from __future__ import annotations

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.base.rows import pieces


def check_labelled(
    train_features: np.ndarray, train_labels: np.ndarray, val_features: np.ndarray, val_labels: np.ndarray
) -> None:
    """Check the input of methods that value labelled items.

    Args:
        train_features, val_features: `(items, dimensions)`, floating point.
        train_labels, val_labels: `(items,)`, integers.

    Raises:
        InputError: there are no items; labels are missing, or their number is not that of the items; features differ in
            dimensions, are not finite, or are all the same; a training label does not occur in validation.
    """
    check_features(train_features, val_features)
    check_labels(train_labels, len(train_features), "training")
    check_labels(val_labels, len(val_features), "validation")
    check_unseen(train_labels, val_labels)
    check_told_apart(train_features)


def check_told_apart(features: np.ndarray, items: int | None = None) -> None:
    """Check that the training items do not all have the same features.

    Args:
        items: number of items, if `features` are those of a sample of distinct ones.
    """
    if (items or len(features)) > 1 and all((piece == features[0]).all() for piece in pieces(features)):
        raise InputError(
            "training items must differ in their features, and all of them have the same; choose another encoder"
        )


def check_unseen(train_labels: np.ndarray, val_labels: np.ndarray) -> None:
    """Check that every training label occurs in validation."""
    unseen = np.setdiff1d(train_labels, val_labels)
    if len(unseen):
        raise InputError(
            f"every training label needs validation items for comparison, and none has label {unseen[0]}"
            f"{f' ({len(unseen)} such labels)' if len(unseen) > 1 else ''}. Add validation items, or use "
            "`--unseen-label worst`, which gives such items the lowest value"
        )


def check_features(
    train_features: np.ndarray,
    val_features: np.ndarray,
    first: int = 0,
    *,
    title: str = "validation",
    first_title: str = "training",
) -> None:
    """Check training features and the features they are compared with.

    Args:
        first: number of the first training row, for messages.
        title, first_title: what the other and the training features are called in messages.
    """
    for side, features in ((first_title, train_features), (title, val_features)):
        if features.ndim != 2 or not np.issubdtype(features.dtype, np.floating):
            raise InputError(
                f"features are floating-point numbers, (items, dimensions); {side} features are {features.dtype} of "
                f"shape {features.shape}. Pass a matrix of float32 or float64 with a row for each item"
            )
        if 0 in features.shape:
            raise InputError(
                f"features have at least one item and one dimension; {side} features have shape {features.shape}. "
                "Check how they were made"
            )
        check_finite(features, side, first if features is train_features else 0)
    if train_features.shape[1] != val_features.shape[1]:
        raise InputError(
            f"{first_title} and {title} items are compared dimension by dimension; got {train_features.shape[1]} and "
            f"{val_features.shape[1]} dimensions. Embed both with the same encoder"
        )


def check_finite(features: np.ndarray, title: str, first: int = 0) -> None:
    """Check that features and their squares are finite, and not rounded to zero.

    Args:
        first: number of the first row, for messages.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->", features, features, dtype=np.result_type(features, np.float32))
    if not np.isfinite(squares):
        for row in np.flatnonzero(~np.isfinite(features).all(axis=1)):
            column = int(np.flatnonzero(~np.isfinite(features[row]))[0])
            raise InputError(
                f"features are finite numbers; {title} row {first + int(row)} has {features[row, column]} in "
                f"dimension {column}. Remove that item, or repair its features"
            )
        row, column = np.unravel_index(np.abs(features).argmax(), features.shape)
        raise InputError(
            f"the squares of features must be finite in {features.dtype}; {title} row {first + int(row)} has "
            f"{features[row, column]:.3g} in dimension {int(column)}. Divide the features by their standard deviation"
        )
    if squares < np.finfo(squares.dtype).tiny and features.any():
        raise InputError(
            f"the squares of features must not vanish in {features.dtype}; those of all {title} items sum to "
            f"{squares:.3g}. Divide the features by their standard deviation"
        )


def check_labels(labels: np.ndarray | None, items: int, title: str) -> None:
    if labels is None:
        raise InputError(f"this method needs labels, and the {items} {title} items have none; add labels, or use LAVA")
    if labels.shape != (items,) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"each item has one label, an integer; got {items} {title} items and {labels.dtype} labels of shape "
            f"{labels.shape}. Pass one label for each item, in the order of the items"
        )
