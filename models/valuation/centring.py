"""Features relative to their mean over the training items."""

from __future__ import annotations

import numpy as np

FEWEST = 2
"""Items from which there is something to be relative to; one item is its own mean, and has no direction from it."""


def centred(train: np.ndarray, generated: np.ndarray, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Subtract from both sides the mean of the training features, float32, `(items, dimensions)` each.

    Items are compared by the direction of their features. Features of networks that end with a rectifier all point the
    same way, so that what all images have in common decides much of their cosine; relative to the mean, what tells them
    apart does (`tests.benchmarks.attribution`).

    Args:
        train: `(items, dimensions)`.
        generated: `(generated, dimensions)`.
        rows: the items whose mean is taken, so that copies do not move it; None: all.
    """
    counted = train if rows is None or len(rows) == len(train) else train[rows]
    if len(counted) < FEWEST:
        return train, generated
    mean = counted.mean(axis=0, dtype=np.float64)
    return (train - mean).astype(np.float32), (generated - mean).astype(np.float32)
