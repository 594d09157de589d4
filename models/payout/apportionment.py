"""Divide a whole number in proportion to weights, within bounds, with exact fractions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def bounded_shares(total: int, weights: Sequence[Fraction], *, low: int, high: int) -> list[Fraction]:
    """Shares min(max(c w, low), high) of the positive weights w, where c makes them sum to the total.

    What the upper bound cuts off is distributed to the other shares in proportion, and what the lower bound adds is
    taken from the other shares in the same way.

    Args:
        low: at most `high`, and at most the total divided by the number of positive weights.

    Returns:
        A share for each weight, in their order; zero for weights that are not positive. The shares sum to the total, or
        each positive weight has the share `high` if even these do not exceed the total.
    """
    shares = [Fraction(0)] * len(weights)
    free, remaining = [index for index, weight in enumerate(weights) if weight > 0], total
    if high * len(free) <= total:
        return [Fraction(high if weight > 0 else 0) for weight in weights]
    while free:
        scale = remaining / sum((weights[index] for index in free), Fraction(0))
        for index in free:
            shares[index] = scale * weights[index]
        over = [index for index in free if shares[index] > high]
        under = [index for index in free if shares[index] < low]
        excess = sum(shares[index] - high for index in over) - sum(low - shares[index] for index in under)
        # If bounding makes the sum too small, c must grow, so shares above the upper bound stay there. If it makes
        # the sum too large, c must shrink, so shares below the lower bound stay there.
        settled, bound = (over, high) if excess >= 0 else (under, low)
        if not settled:
            break
        for index in settled:
            shares[index] = Fraction(bound)
        free, remaining = [index for index in free if index not in set(settled)], remaining - bound * len(settled)
    return shares


def largest_remainder(shares: Sequence[Fraction]) -> list[int]:
    """Round shares with a whole sum to whole numbers with the same sum, each by less than one (Hamilton's method).

    Among equal remainders, larger shares are rounded up first, then earlier ones.
    """
    floors = [int(share) for share in shares]
    order = sorted(range(len(shares)), key=lambda index: (floors[index] - shares[index], -shares[index], index))
    for index in order[: int(sum(shares, Fraction(0))) - sum(floors)]:
        floors[index] += 1
    return floors
