"""What of an encoder's features items are compared by."""

from __future__ import annotations

from typing import Literal

import numpy as np

from models.errors import InputError
from models.valuation.head import fit_head

Representation = Literal["features", "logits", "probabilities"]

PENALTY = 1e-2
"""Of the head: features outnumber the items of a small validation set."""


def represent(
    train: np.ndarray, val: np.ndarray, val_labels: np.ndarray | None, kind: Representation
) -> tuple[np.ndarray, np.ndarray]:
    """Both sides in one representation, float32.

    `features` are scaled to length one: the length of a feature vector says how much contrast an image has, and
    Euclidean distances in many dimensions would say little else. `logits` and `probabilities` are those of
    a linear classifier trained on validation, `(items, labels)`.

    Raises:
        InputError: a classifier is asked for and validation has no labels, or one only.
    """
    if kind == "features":
        return _unit(train), _unit(val)
    if val_labels is None or len(np.unique(val_labels)) < 2:
        raise InputError(f"`encoding.representation: {kind}` takes validation items of two labels or more")
    head = fit_head(val, val_labels, penalty=PENALTY)
    shown = head.logits if kind == "logits" else head.probabilities
    return shown(train).astype(np.float32), shown(val).astype(np.float32)


def _unit(features: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)
