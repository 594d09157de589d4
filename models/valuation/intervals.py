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
    above, below = _counts(low, high)
    contributors = len(above)
    return [RankRange(1 + better, contributors - worse) for better, worse in zip(above, below, strict=True)]


def pairs_told_apart(low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray) -> int:
    """Number of pairs of contributors whose intervals do not overlap."""
    return sum(_counts(low, high)[0])


def _counts(low: Sequence[float] | np.ndarray, high: Sequence[float] | np.ndarray) -> tuple[list[int], list[int]]:
    """For each contributor, how many are surely above and how many surely below; by sorting, not by pairs.

    A contributor is surely above another whose interval ends before theirs begins; see `surely_above`.
    """
    lows, highs = np.asarray(low, float), np.asarray(high, float)
    known = ~(np.isnan(lows) | np.isnan(highs))  # nobody is told apart by an interval that is not known
    above = known.sum() - np.searchsorted(np.sort(lows[known]), highs, side="right")
    below = np.searchsorted(np.sort(highs[known]), lows, side="left")
    return np.where(known, above, 0).tolist(), np.where(known, below, 0).tolist()
