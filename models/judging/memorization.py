"""Whether generated images are copies of training images: a test against images that the generator never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control

from royalty.models.base.errors import InputError
from royalty.models.valuation.neighbours import Index, build_index

NEIGHBOURS = 50
"""Training items after the nearest whose mean distance the nearest is compared with, as in Carlini et al. (2023)."""


@dataclass(frozen=True)
class Memorization:
    """The test of each generated image.

    Attributes:
        nearest: int64, `(generated,)`, row of the nearest training item.
        closeness: float64, `(generated,)`, distance to it as a fraction of the mean distance to the next ones; 0 for a
            copy, near 1 for an image like many others.
        p_values: float64, `(generated,)`, the probability that an image that was never trained on is as close to a
            training item. Among images that are no copies, a fraction of at most `a` has a p-value of at most `a`.
        flagged: bool, `(generated,)`, copies at the false discovery rate.
        smallest: the smallest p-value that the number of held-out images allows, 1 / (held-out images + 1).
    """

    nearest: np.ndarray
    closeness: np.ndarray
    p_values: np.ndarray
    flagged: np.ndarray
    smallest: float


def memorization_test(
    train: np.ndarray,
    generated: np.ndarray,
    held_out: np.ndarray | None = None,
    *,
    rate: float = 0.05,
    neighbours: int = NEIGHBOURS,
    index: Index | None = None,
) -> Memorization:
    """Test for each generated image whether it is closer to a training item than held-out images are.

    The p-value is the conformal one, (1 + number of held-out images at least as close) / (1 + held-out images): a
    generated image that is no copy is exchangeable with an image of the same source that was held out of training.
    Images are flagged by the procedure of Benjamini and Hochberg (1995), so that of the flagged ones, a fraction of at
    most `rate` is expected to be no copies.

    Args:
        train: features of the training items, `(items, dimensions)`; without copies of each other, which would be their
            own nearest neighbours.
        generated: features of generated images, by the same encoder.
        held_out: features of images from the same source that were not trained on, `(held-out, dimensions)`. None:
            every training item is compared with the others, which is the same for images that are no copies of each
            other.
        rate: false discovery rate, in (0, 1).
        neighbours: number of items after the nearest whose distances the nearest is compared with; at most the number
            of the others.
        index: of `build_index` on `train`; by default built here.

    Raises:
        InputError: fewer than 3 training items, no held-out images, or a rate or number out of range.
    """
    if len(train) < 3:
        raise InputError(f"closeness compares the nearest of three training items or more; got {len(train)}. Give more")
    if held_out is not None and not len(held_out):
        raise InputError("p-values are by images that were not trained on, and there are none. Hold some out")
    if not 0 < rate < 1:
        raise InputError(f"a false discovery rate lies between 0 and 1; got {rate}. Take 0.05")
    if neighbours < 1:
        raise InputError(f"closeness is relative to at least one more neighbour; got {neighbours}. Take {NEIGHBOURS}")
    built = build_index(train) if index is None else index
    compared = min(neighbours, len(train) - 2)
    if held_out is None:
        null, _ = _closeness(built, train, compared, skipped=1)
    else:
        null, _ = _closeness(built, held_out, compared)
    closeness, nearest = _closeness(built, generated, compared)
    as_close = np.searchsorted(np.sort(null), closeness, side="right")  # held-out images at least as close
    p_values = (1 + as_close) / (1 + len(null))
    return Memorization(
        nearest=nearest,
        closeness=closeness,
        p_values=p_values,
        flagged=false_discovery_control(p_values) <= rate,
        smallest=1 / (1 + len(null)),
    )


def _closeness(
    index: Index, queries: np.ndarray, neighbours: int, *, skipped: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Closeness of each query, and the row of its nearest item.

    Args:
        skipped: nearest items that are left out: one for queries that are in the index.
    """
    distances, rows = index.search(queries, neighbours + 1 + skipped)
    distances = distances[:, skipped:]
    apart = distances[:, 1:].mean(axis=1)
    return np.divide(distances[:, 0], apart, out=np.zeros(len(apart)), where=apart > 0), rows[:, skipped]
