"""What methods that compare items by features and labels ask of them."""

from __future__ import annotations

import numpy as np

from royalty.models.base.errors import InputError


def check_labelled(
    train_features: np.ndarray, train_labels: np.ndarray, val_features: np.ndarray, val_labels: np.ndarray
) -> None:
    """Refuse what no method can value by.

    Args:
        train_features, val_features: `(items, dimensions)`, floating point.
        train_labels, val_labels: `(items,)`, integers.

    Raises:
        InputError: no items; no labels, or another number of them than items; features of other dimensions, not finite,
            or all the same; a training label that validation lacks.
    """
    check_features(train_features, val_features)
    check_labels(train_labels, len(train_features), "training")
    check_labels(val_labels, len(val_features), "validation")
    check_unseen(train_labels, val_labels)
    check_told_apart(train_features)


def check_told_apart(features: np.ndarray) -> None:
    if len(features) > 1 and (features == features[0]).all():
        raise InputError(
            "all training items have the same features, so none can be told from another; choose another encoder"
        )


def check_unseen(train_labels: np.ndarray, val_labels: np.ndarray) -> None:
    unseen = np.setdiff1d(train_labels, val_labels)
    if len(unseen):
        raise InputError(
            f"every training label has validation items to be compared with; none has label {unseen[0]}"
            f"{f' ({len(unseen)} such labels)' if len(unseen) > 1 else ''}. Add validation items, or take "
            "`--unseen-label worst`, which gives such items the lowest value"
        )


def check_features(
    train_features: np.ndarray, val_features: np.ndarray, first: int = 0, *, title: str = "validation"
) -> None:
    """Check training features, of which the first has this number, and those they are compared with, by their title."""
    for side, features in (("training", train_features), (title, val_features)):
        if features.ndim != 2 or not np.issubdtype(features.dtype, np.floating):
            raise InputError(
                f"features are floating-point numbers, (items, dimensions); {side} features are {features.dtype} of "
                f"shape {features.shape}. Give a matrix of float32 or float64, a row an item"
            )
        if 0 in features.shape:
            raise InputError(
                f"items are compared by their features, and there are no {side} ones: shape {features.shape}. Look at "
                "what made them"
            )
        check_finite(features, side, first if side == "training" else 0)
    if train_features.shape[1] != val_features.shape[1]:
        raise InputError(
            f"training and {title} items are compared dimension by dimension; got {train_features.shape[1]} and "
            f"{val_features.shape[1]} dimensions. Embed both with one encoder"
        )


def check_finite(features: np.ndarray, title: str, first: int = 0) -> None:
    """Refuse rows that are not finite, or whose squares are not; `first` is the number of the first row."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->", features, features, dtype=np.result_type(features, np.float32))
    if not np.isfinite(squares):
        for row in np.flatnonzero(~np.isfinite(features).all(axis=1)):
            column = int(np.flatnonzero(~np.isfinite(features[row]))[0])
            raise InputError(
                f"features are finite numbers; {title} row {first + int(row)} has {features[row, column]} in "
                f"dimension {column}"
            )
        row, column = np.unravel_index(np.abs(features).argmax(), features.shape)
        raise InputError(
            f"distances of features are squared, and {features.dtype} cannot hold the square of {title} row "
            f"{first + int(row)}, which has {features[row, column]:.3g} in dimension {int(column)}; divide features by "
            "their spread"
        )


def check_labels(labels: np.ndarray | None, items: int, title: str) -> None:
    if labels is None:
        raise InputError(
            f"this method values by labels, and the {items} {title} items have none; label them, or take LAVA"
        )
    if labels.shape != (items,) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"each item has one label, an integer; got {items} {title} items and {labels.dtype} labels of shape "
            f"{labels.shape}. Give one an item, in their order"
        )
