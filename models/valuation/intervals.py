"""Which contributors intervals tell apart, and the ranks that are left for each.

Two contributors are told apart when their intervals do not overlap. Everything that compares contributors, or the same
contributor at two times, follows this rule: ranks, tiers of payment, and what is said to have moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RankRange:
    """Ranks that intervals leave for a contributor; 1 is the highest credit.

    Attributes:
        best: 1 + the number of contributors who are surely above.
        worst: all contributors - the number of those who are surely below.
    """

    best: int
    worst: int


def surely_above(low: float | np.ndarray, high: float | np.ndarray) -> bool | np.ndarray:
    """Whether an interval that begins at `low` is wholly above one that ends at `high`; intervals that touch overlap.

    Args:
        low, high: numbers, or arrays that broadcast.
    """
    return low > high


def told_apart(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether two intervals, each a low and a high end, do not overlap."""
    return bool(surely_above(first[0], second[1]) or surely_above(second[0], first[1]))


def rank_ranges(low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray) -> list[RankRange]:
    """The ranks that are left for each contributor.

    Args:
        low, high: `(contributors,)`, the ends of the intervals.
    """
    above = _above(low, high)
    return [
        RankRange(1 + int(better), len(above) - int(worse))
        for better, worse in zip(above.sum(axis=0), above.sum(axis=1), strict=True)
    ]


def pairs_told_apart(low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray) -> int:
    """Number of pairs of contributors whose intervals do not overlap."""
    return int(_above(low, high).sum())


def _above(low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray) -> np.ndarray:
    """Whether the contributor of the row is surely above that of the column."""
    return np.asarray(surely_above(np.asarray(low, float)[:, None], np.asarray(high, float)[None, :]))
