"""Held-out coalitions by which credit is judged, and the coalitions of counterfactuals."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, comb

import numpy as np

from royalty.models.base.errors import InputError

MIN_RANKED = 3
"""Smallest number of coalitions for a rank correlation."""


def held_out_coalitions(n_players: int, alpha: float, count: int, *, seed: int) -> np.ndarray:
    """Draw distinct coalitions of round(alpha n) contributors uniformly (eq. 10).

    Returns:
        bool, `(coalitions, n_players)`; all possible coalitions if there are fewer than `count`.

    Raises:
        InputError: see `held_out_size`.
    """
    size = held_out_size(n_players, alpha)
    generator = np.random.default_rng([seed, size])
    masks: dict[bytes, np.ndarray] = {}
    while len(masks) < min(count, comb(n_players, size)):
        mask = np.zeros(n_players, dtype=bool)
        mask[generator.choice(n_players, size, replace=False)] = True
        masks[mask.tobytes()] = mask
    return np.array(list(masks.values()))


def held_out_size(n_players: int, alpha: float) -> int:
    """Number of contributors in a held-out coalition: round(alpha n).

    Raises:
        InputError: the coalition would have no contributor or all of them, or there are too few coalitions of its size.
    """
    size = round(alpha * n_players)
    if not 0 < size < n_players:
        raise InputError(
            f"a held-out coalition has at least one contributor and not all; alpha {alpha} of {n_players} gives "
            f"{size}. Choose another alpha"
        )
    if comb(n_players, size) < MIN_RANKED:
        raise InputError(
            f"a rank correlation needs at least {MIN_RANKED} coalitions, and {n_players} contributors have "
            f"{comb(n_players, size)} of size {size}. Choose another alpha, or use more contributors"
        )
    return size


def folds_of(sizes: Sequence[int], folds: int) -> np.ndarray:
    """Fold of each coalition, `(coalitions,)`, from 0; the coalitions of each size are assigned to folds in turn."""
    table, fold = np.asarray(sizes), np.empty(len(sizes), dtype=int)
    for size in np.unique(table):
        same_size = np.flatnonzero(table == size)
        fold[same_size] = np.arange(len(same_size)) % folds
    return fold


def without_top(values: np.ndarray, share: float) -> np.ndarray:
    """All contributors except those of highest credit: bool, `(n,)`; at least one is removed."""
    mask = np.ones(len(values), dtype=bool)
    mask[np.argsort(-values, kind="stable")[: ceil(share * len(values) - 1e-9)]] = False
    return mask


def only_top(values: np.ndarray, share: float) -> np.ndarray:
    """Only the contributors of highest credit: bool, `(n,)`; at least one."""
    return ~without_top(values, share)


def relative_change(utility: float, whole: float) -> float:
    """(v(S) - v(everybody)) / v(everybody): relative change of the utility from all contributors to S."""
    return (utility - whole) / whole
