"""The items of drawn sets of images, for planning and for workers. Imports no orchestration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from royalty.models.data.items import ImageSet
from royalty.models.valuation.coalitions import masks_of
from royalty.models.valuation.image_sets import sample_image_sets
from royalty.tasks.credit.plan import DrawnSet


@lru_cache(maxsize=2)
def _sets(images: int, count: int, seed: int) -> list[np.ndarray]:
    return sample_image_sets(images, count, seed=seed)


def drawn_items(data: ImageSet, drawn: DrawnSet, public: Sequence[str]) -> np.ndarray:
    """Whether each item is in a drawn set, bool, `(items,)`; those of public contributors always are."""
    always = masks_of([public], data.contributors)[0]
    chosen: np.ndarray = np.asarray(data.membership[:, always].any(axis=1))
    paid = np.flatnonzero(~chosen)
    chosen[paid[_sets(len(paid), drawn.count, drawn.seed)[drawn.number]]] = True
    return chosen


def draw_sets(count: int, seed: int) -> list[DrawnSet]:
    """The sets of a draw, in the order in which they are measured."""
    return [DrawnSet(number, count, seed) for number in range(count)]
