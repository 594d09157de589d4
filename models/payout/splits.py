"""The share of each contributor if it split into two identities, for all contributors at once.

Dividing the pool anew for each contributor takes quadratic time. Here the weight of both halves is computed for all
contributors together, by sorting and by tables of ranges, and then the share that it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from royalty.models.payout.division import Terms
from royalty.models.payout.policies import POLICIES, Credit, PolicyName

STEPS = 200
"""Bisections of the scale of shares."""


def closed_form(terms: Terms) -> bool:
    """Whether `combined_shares` holds for these terms: weights of a contributor that depend on others only in tiers."""
    return not terms.equal_share and terms.policy in ("proportional", "lower-bound", "equal-tiers")


def combined_shares(pool: int, credits: Mapping[str, Credit], terms: Terms) -> np.ndarray:
    """Sum of the shares under two names, in minor units, not rounded; see `royalty.models.payout.identities.split`.

    Each name has half of the credit, and an interval as wide as before.

    Without floor and cap the shares are exact but for rounding. With them, the others' shares change in proportion, as
    long as no other share reaches a bound or leaves it; with thousands of contributors that hardly changes a share.

    Returns:
        A share for each contributor, in the order of the credits; 0 without positive credit; nan if the pool does not
        suffice for one more floor, or nobody has a positive weight after the split.
    """
    weights = np.array([float(weight) for weight in POLICIES[terms.policy].weigh(credits).values()])
    positive = np.array([credit.value > 0 for credit in credits.values()])
    halves = _half_weights(list(credits.values()), terms.policy)
    halves = np.where(positive, np.maximum(halves, 0.0), 0.0)
    if terms.floor * (int((weights > 0).sum()) + 1) > 1:
        return np.where(positive, np.nan, 0.0)
    low, high = float(int(terms.floor * pool)), float(int(terms.cap * pool))

    def bounded(weight: np.ndarray, scale: float | np.ndarray) -> np.ndarray:
        shares: np.ndarray = np.where(weight > 0, np.clip(scale * weight, low, high), 0.0)
        return shares

    scale = _scale(pool, weights, low, high)
    own, twins = bounded(weights, scale), 2 * bounded(halves, scale)
    free = (weights > 0) & (scale * weights > low) & (scale * weights < high)
    twins_free = (halves > 0) & (scale * halves > low) & (scale * halves < high)
    # What the halves get more or less than the whole is taken from, or given to, all shares that can move, by
    # weight. In tiers, and in proportion to credit, all weights keep their sum, whoever splits: there it is only
    # what bounds add to the halves or cut off.
    others = 0.0 if terms.policy == "lower-bound" else scale * (2 * halves - np.maximum(weights, 0.0))
    added = twins - own - others
    moving = weights[free].sum() - np.where(free, weights, 0.0) + np.where(twins_free, 2 * halves, 0.0)
    change = np.divide(-added, moving, out=np.zeros_like(moving), where=moving > 0)
    left = np.maximum(weights, 0.0).sum() - np.maximum(weights, 0.0) + 2 * halves
    return np.where(positive & (left <= 0), np.nan, 2 * bounded(halves, scale + change))


def _half_weights(credits: Sequence[Credit], policy: PolicyName) -> np.ndarray:
    """The weight of each half of a contributor, `(contributors,)`."""
    if policy == "equal-tiers":
        return _tier_weights(credits)
    values, low, high = (np.array([getattr(each, name) for each in credits]) for name in ("value", "low", "high"))
    halves: np.ndarray = values / 2
    return halves if policy == "proportional" else np.maximum(low - halves, np.minimum(high - halves, 0.0))


def _scale(pool: int, weights: np.ndarray, low: float, high: float) -> float:
    """The scale c with which min(max(c w, low), high) of the positive weights w sum to the pool, as far as they can."""
    positive = weights[weights > 0]
    least, most = 0.0, float(max(pool, 1)) / float(positive.min())
    for _ in range(STEPS):
        scale = (least + most) / 2
        if np.clip(scale * positive, low, high).sum() < pool:
            least = scale
        else:
            most = scale
    return most


@dataclass(frozen=True)
class _Ranges:
    """Contributors in the order of tiers, and for each power of two the common interval of as many in a row.

    Attributes:
        low, high: of each level, `(contributors,)`: the ends of the common interval of those from here on.
    """

    low: list[np.ndarray]
    high: list[np.ndarray]

    @classmethod
    def of(cls, low: np.ndarray, high: np.ndarray) -> _Ranges:
        lows, highs, size = [low], [high], 1
        while 2 * size <= len(low):
            lows.append(np.append(np.maximum(lows[-1][:-size], lows[-1][size:]), np.full(size, np.inf)))
            highs.append(np.append(np.minimum(highs[-1][:-size], highs[-1][size:]), np.full(size, -np.inf)))
            size *= 2
        return cls(lows, highs)

    def extend(
        self, start: np.ndarray, low: np.ndarray, high: np.ndarray, limit: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take in contributors from `start` on, below `limit`, as long as all intervals have a point in common.

        Args:
            low, high: the common interval of those who are in already.

        Returns:
            The first who is not taken in, and the ends of the common interval.
        """
        last = len(self.low[0]) - 1
        for level in reversed(range(len(self.low))):
            at = np.minimum(start, last)
            lows, highs = np.maximum(low, self.low[level][at]), np.minimum(high, self.high[level][at])
            fits = (start + 2**level <= limit) & (lows <= highs)
            low, high = np.where(fits, lows, low), np.where(fits, highs, high)
            start = start + fits * 2**level
        return start, low, high


def _tier_weights(credits: Sequence[Credit]) -> np.ndarray:
    """The weight of each half of a contributor in tiers of equal pay, `(contributors,)`; 0 without positive credit."""
    values, low, high = (np.array([getattr(each, name) for each in credits]) for name in ("value", "low", "high"))
    order = np.lexsort((-high, -values))
    values, low, high = values[order], low[order], high[order]
    number = len(values)
    ranges, whole = _Ranges.of(low, high), np.concatenate([[0.0], np.cumsum(np.maximum(values, 0.0))])
    everyone, none, end = np.arange(number), np.full(number, np.inf), np.full(number, number)
    following = np.append(ranges.extend(everyone, -none, none, end)[0], number)  # where the tier that starts here ends
    # Without a contributor, the tier of the one before takes in those who come next.
    starts = np.concatenate([[0], _starts(following, number)[:-1]])
    # The halves come after all with more credit than one of them, who include the contributor.
    place = np.searchsorted(-values, -values / 2, side="left")
    place = np.maximum(place + _tied(values, high, place), everyone + 1)
    # That tier, up to the halves.
    _, before_low, before_high = ranges.extend(starts, -none, none, everyone)
    reached, tier_low, tier_high = ranges.extend(everyone + 1, before_low, before_high, place)
    here = reached >= place  # the halves come next in this tier
    first = _last_start_before(following, np.minimum(reached, place), place)
    _, other_low, other_high = ranges.extend(first, -none, none, place)
    tier_low, tier_high = np.where(here, tier_low, other_low), np.where(here, tier_high, other_high)
    members = np.where(here, place - starts - 1, place - first)
    total = np.where(here, whole[place] - whole[starts] - np.maximum(values, 0.0), whole[place] - whole[first])
    half_low, half_high = low - values / 2, high - values / 2
    joins = (members > 0) & (np.maximum(tier_low, half_low) <= np.minimum(tier_high, half_high))
    tier_low = np.where(joins, np.maximum(tier_low, half_low), half_low)
    tier_high = np.where(joins, np.minimum(tier_high, half_high), half_high)
    members, total = np.where(joins, members, 0) + 2, np.where(joins, total, 0.0) + np.maximum(values, 0.0)
    reached, _, _ = ranges.extend(place, tier_low, tier_high, end)
    weights = (total + whole[reached] - whole[place]) / (members + reached - place)
    unsorted = np.empty(number)
    unsorted[order] = np.where(values > 0, weights, 0.0)
    return unsorted


def _starts(following: np.ndarray, number: int) -> np.ndarray:
    """Where the tier of each contributor starts."""
    heads = [0] if number else []
    while heads and following[heads[-1]] < number:
        heads.append(int(following[heads[-1]]))
    marks = np.zeros(number, dtype=np.int64)
    marks[heads] = heads
    return np.maximum.accumulate(marks)


def _tied(values: np.ndarray, high: np.ndarray, place: np.ndarray) -> np.ndarray:
    """How many with exactly half of a contributor's credit come before its halves: those with no lower a high end."""
    number = len(values)
    ends = np.searchsorted(-values, -values / 2, side="right")
    tied = np.flatnonzero(ends > place)
    counts = np.zeros(number, dtype=np.int64)
    for index in tied:
        counts[index] = int((high[place[index] : ends[index]] >= high[index] - values[index] / 2).sum())
    return counts


def _last_start_before(following: np.ndarray, start: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Follow tiers from a start to the last one that starts before a place."""
    jumps = [following]
    while jumps[-1][0] < len(following) - 1:
        jumps.append(jumps[-1][jumps[-1]])
    for jump in reversed(jumps):
        further = jump[start]
        start = np.where(further < place, further, start)
    return start
