"""Representations: transformations of an encoder's features by which items are compared."""

from __future__ import annotations

import numpy as np

from royalty.models.base.choices import Representation
from royalty.models.base.errors import InputError
from royalty.models.encoders.head import fit_head

PENALTY = 1e-2
"""Penalty of the head; strong, because a small validation set has fewer items than features."""

DIRECTIONS = 64
"""Number of principal components."""


def represent(
    train: np.ndarray, val: np.ndarray, val_labels: np.ndarray | None, kind: Representation
) -> tuple[np.ndarray, np.ndarray]:
    """Transform training and validation features to a representation, float32.

    - `features`: scaled to length one. The length of a feature vector mostly reflects the contrast of an image and
      would dominate Euclidean distances in many dimensions.
    - `principal`: the first 64 principal components of the scaled features of validation.
    - `probabilities`: of a linear classifier trained on validation. They reveal wrong labels, but little else.
    - `both`: `principal` and `probabilities` concatenated, each scaled to a total variance of one on validation;
      without labels, `principal` only.

    Raises:
        InputError: `probabilities` without at least two labels in validation.
    """
    if kind == "features":
        return _normalized(train), _normalized(val)
    labelled = val_labels is not None and len(np.unique(val_labels)) > 1
    if kind == "probabilities" and not labelled:
        raise InputError(
            "`encoding.representation: probabilities` needs validation items with at least two labels; add labels, or "
            "choose `principal`"
        )
    parts = []
    if kind in ("principal", "both"):
        parts.append(_principal(train, val))
    if kind in ("probabilities", "both") and labelled and val_labels is not None:
        head = fit_head(val, val_labels, penalty=PENALTY)
        parts.append(_scaled(head.probabilities(train), head.probabilities(val)))
    train_parts, val_parts = zip(*parts, strict=True)
    return np.hstack(train_parts).astype(np.float32), np.hstack(val_parts).astype(np.float32)


def _principal(train: np.ndarray, val: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    train, val = _normalized(train), _normalized(val)
    mean = val.mean(axis=0)
    _, _, directions = np.linalg.svd(val - mean, full_matrices=False)
    components = directions[:DIRECTIONS].T  # (dimensions, components)
    return _scaled((train - mean) @ components, (val - mean) @ components)


def _scaled(train: np.ndarray, val: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both divided by the square root of the total variance on validation."""
    spread = float(np.sqrt(val.var(axis=0).sum())) or 1.0
    return train / spread, val / spread


def _normalized(features: np.ndarray) -> np.ndarray:
    """Rows scaled to length one; zero rows stay zero."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)
