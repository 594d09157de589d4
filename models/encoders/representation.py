"""What of an encoder's features items are compared by."""

from __future__ import annotations

import numpy as np

from royalty.models.base.choices import Representation
from royalty.models.base.errors import InputError
from royalty.models.encoders.head import fit_head

PENALTY = 1e-2
"""Of the head: features outnumber the items of a small validation set."""

DIRECTIONS = 64
"""Principal directions kept."""


def represent(
    train: np.ndarray, val: np.ndarray, val_labels: np.ndarray | None, kind: Representation
) -> tuple[np.ndarray, np.ndarray]:
    """Both sides in one representation, float32.

    `features` are scaled to length one: the length of a feature vector says how much contrast an image has, and
    Euclidean distances in many dimensions would say little else. `principal` are their first 64 principal
    components on validation. `probabilities` are those of a linear classifier trained on validation: they tell
    wrong labels, and little of what no label stands for. `both` are the last two side by side, each scaled to a
    total variance of one on validation; without labels, `principal` alone.

    Raises:
        InputError: probabilities are asked for, and validation has no labels or one only.
    """
    if kind == "features":
        return _unit(train), _unit(val)
    labelled = val_labels is not None and len(np.unique(val_labels)) > 1
    if kind == "probabilities" and not labelled:
        raise InputError("`encoding.representation: probabilities` takes validation items of two labels or more")
    sides = []
    if kind in ("principal", "both"):
        sides.append(_principal(train, val))
    if kind in ("probabilities", "both") and labelled and val_labels is not None:
        head = fit_head(val, val_labels, penalty=PENALTY)
        sides.append(_scaled(head.probabilities(train), head.probabilities(val)))
    first, second = zip(*sides, strict=True)
    return np.hstack(first).astype(np.float32), np.hstack(second).astype(np.float32)


def _principal(train: np.ndarray, val: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    own, others = _unit(val), _unit(train)
    mean = own.mean(axis=0)
    _, _, directions = np.linalg.svd(own - mean, full_matrices=False)
    kept = directions[:DIRECTIONS].T  # (dimensions, directions)
    return _scaled((others - mean) @ kept, (own - mean) @ kept)


def _scaled(train: np.ndarray, val: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    spread = float(np.sqrt(val.var(axis=0).sum())) or 1.0
    return train / spread, val / spread


def _unit(features: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)
