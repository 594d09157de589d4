"""Whether generated images are copies of training images: a test against images that the generator never saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import false_discovery_control
from torch.nn.functional import adaptive_avg_pool2d

from royalty.models.base.errors import InputError
from royalty.models.valuation.centring import centred
from royalty.models.valuation.neighbours import Index, build_index

NEIGHBOURS = 50
"""Training items after the nearest whose mean distance the nearest is compared with, as in Carlini et al. (2023)."""

MOST_PIXELS = 1280
"""Numbers of an image that `pixels_of` gives, as many as networks give: 35 by 35 pixels of grey, 20 by 20 in colour."""

POOLED_TOGETHER = 1024

COMPARED = 1000
"""Training items by which the closeness that is usual in a view is known, if others are held out."""


@dataclass(frozen=True)
class Memorization:
    """The test of each generated image.

    Attributes:
        nearest: int64, `(generated,)`, row of the nearest training item.
        closeness: float64, `(generated,)`, distance to it as a fraction of the mean distance to the next ones; 0 for a
            copy, near 1 for an image like many others.
        view: int64, `(generated,)`, place of the features by which the two are that close.
        p_values: float64, `(generated,)`, the probability that an image that was never trained on is as close to a
            training item. Among images that are no copies, a fraction of at most `a` has a p-value of at most `a`.
        flagged: bool, `(generated,)`, copies at the false discovery rate.
        smallest: the smallest p-value that the number of held-out images allows, 1 / (held-out images + 1).
    """

    nearest: np.ndarray
    closeness: np.ndarray
    view: np.ndarray
    p_values: np.ndarray
    flagged: np.ndarray
    smallest: float


def memorization_test(
    train: Sequence[np.ndarray],
    generated: Sequence[np.ndarray],
    held_out: Sequence[np.ndarray] | None = None,
    *,
    rate: float = 0.05,
    neighbours: int = NEIGHBOURS,
) -> Memorization:
    """Test for each generated image whether it is closer to a training item than held-out images are.

    All images are given in the same views, features of one encoder each. In each view, closeness is measured in
    standard deviations from the mean closeness of training items to the others, and the view in which an image is
    closest counts. So a copy that one view misses, such as a blurred or a moved one, is found by another. Held-out
    images have no part in this. So the p-value is the conformal one, (1 + number of held-out images at least as close)
    / (1 + held-out images): a generated image that is no copy is exchangeable with an image of the same source that was
    held out of training. Images are flagged by the procedure of Benjamini and Hochberg (1995), so that of the flagged
    ones, a fraction of at most `rate` is expected to be no copies.

    Args:
        train: features of the training items, `(items, dimensions)` in each view; without copies of each other, which
            would be their own nearest neighbours.
        generated: features of generated images in the same views.
        held_out: features of images from the same source that were not trained on, `(held-out, dimensions)`. None:
            every training item is compared with the others, which is the same for images that are no copies of each
            other.
        rate: false discovery rate, in (0, 1).
        neighbours: number of items after the nearest whose distances the nearest is compared with; at most the number
            of the others.

    Raises:
        InputError: fewer than 3 training items, no held-out images, different views, or a rate or number out of range.
    """
    views = {len(side) for side in (train, generated, held_out) if side is not None}
    if len(views) > 1 or not train:
        raise InputError(f"all images are compared by the same features; got {sorted(views)} kinds. Give each side all")
    if len(train[0]) < 3:
        raise InputError(
            f"closeness compares the nearest of three training items or more; got {len(train[0])}. Give more"
        )
    if held_out is not None and not len(held_out[0]):
        raise InputError("p-values are by images that were not trained on, and there are none. Hold some out")
    if not 0 < rate < 1:
        raise InputError(f"a false discovery rate lies between 0 and 1; got {rate}. Take 0.05")
    if neighbours < 1:
        raise InputError(f"closeness is relative to at least one more neighbour; got {neighbours}. Take {NEIGHBOURS}")
    compared = min(neighbours, len(train[0]) - 2)
    found, nulls = [], []
    for view, items in enumerate(train):
        index = build_index(items)
        some = items if held_out is None else items[:: -(-len(items) // COMPARED)]
        own, _ = _closeness(index, some, compared, skipped=1)
        null = own if held_out is None else _closeness(index, held_out[view], compared)[0]
        closeness, nearest = _closeness(index, generated[view], compared)
        spread = own.std() or 1.0  # items that are all equally close differ by nothing to compare with
        nulls.append((null - own.mean()) / spread)
        found.append(((closeness - own.mean()) / spread, closeness, nearest))
    standing, closeness, nearest = (np.array(part) for part in zip(*found, strict=True))
    closest, made = standing.argmin(axis=0), np.arange(standing.shape[1])
    null = np.sort(np.min(nulls, axis=0))
    as_close = np.searchsorted(null, standing[closest, made], side="right")  # held-out images at least as close
    p_values = (1 + as_close) / (1 + len(null))
    return Memorization(
        nearest=nearest[closest, made],
        closeness=closeness[closest, made],
        view=closest,
        p_values=p_values,
        flagged=false_discovery_control(p_values) <= rate,
        smallest=1 / (1 + len(null)),
    )


def views_of(*sides: tuple[np.ndarray, np.ndarray]) -> list[list[np.ndarray]]:
    """What `memorization_test` compares images by: features, and pixels, by which copies are found that networks see as
    something else, such as blurred ones.

    Args:
        sides: features, `(items, dimensions)`, and images, uint8, `(items, channels, height, width)`; those of the
            training items first.

    Returns:
        For each side, both views, relative to the mean of the training items.
    """
    views = []
    for view in zip(*((features, pixels_of(images)) for features, images in sides), strict=True):
        kept, moved = centred(view[0], np.concatenate(view[1:]))
        views.append([kept, *np.split(moved, np.cumsum([len(side) for side in view[1:-1]]))])
    return [list(side) for side in zip(*views, strict=True)]


def pixels_of(images: np.ndarray) -> np.ndarray:
    """Pixels in [0, 1], float32, `(items, dimensions)`; of images with more than `MOST_PIXELS`, means over squares."""
    most = math.isqrt(MOST_PIXELS // images.shape[1])
    height, width = (min(side, most) for side in images.shape[2:])
    pooled = np.empty((len(images), images.shape[1] * height * width), np.float32)
    for start in range(0, len(images), POOLED_TOGETHER):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + POOLED_TOGETHER])).float() / 255
        pooled[start : start + len(batch)] = adaptive_avg_pool2d(batch, (height, width)).flatten(1)
    return pooled


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
