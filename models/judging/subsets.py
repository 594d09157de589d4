"""Random subsets of training images, on which generators are trained again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from royalty.models.base.errors import InputError


def removed_count(count: int, share: float) -> int:
    """Number of items that a share of them is, at least one."""
    return max(1, round(share * count))


def random_rows(count: int, chosen: int, seed: int) -> np.ndarray:
    """Rows of random items, int64, `(chosen,)`, all different."""
    rows: np.ndarray = np.random.default_rng(seed).choice(count, chosen, replace=False)
    return rows


def random_subsets(count: int, kept: float, seeds: Sequence[int]) -> np.ndarray:
    """Draw a subset of the items for each seed: what `random_rows` leaves of them.

    Args:
        count: number of items.
        kept: fraction of the items in a subset, in (0, 1).

    Returns:
        bool, `(seeds, count)`.

    Raises:
        InputError: a subset would have no item, or two subsets are equal.
    """
    removed = removed_count(count, 1 - kept)
    if removed >= count:
        raise InputError(
            f"a subset has at least one training image; got `kept` = {kept:g} of {count}. Keep a larger fraction"
        )
    masks = np.ones((len(seeds), count), dtype=bool)
    for mask, seed in zip(masks, seeds, strict=True):
        mask[random_rows(count, removed, seed)] = False
    if (different := len(np.unique(masks, axis=0))) < len(masks):
        raise InputError(
            f"subsets differ from each other; got {different} different ones of `subsets` = {len(masks)}, with "
            f"`kept` = {kept:g} of {count} training images. Use fewer subsets, or more images"
        )
    return masks
