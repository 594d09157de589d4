"""Whole numbers in proportion to weights, between bounds: exact arithmetic on fractions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def bounded_shares(total: int, weights: Sequence[Fraction], *, low: int, high: int) -> list[Fraction]:
    """Shares min(max(c w, low), high) of the positive weights w, with the c that makes them sum to the total.

    What the upper bound takes from some goes to the others in proportion, and what the lower bound gives to some
    comes from the others likewise.

    Args:
        low: not above `high`, and times the number of positive weights not above the total.

    Returns:
        A share for each weight, in the order of weights; zero where the weight is not positive. They sum to the
        total, or if the upper bound forbids it, each is `high`.
    """
    shares = [Fraction(0)] * len(weights)
    free, left = [index for index, weight in enumerate(weights) if weight > 0], total
    if high * len(free) <= total:
        return [Fraction(high if weight > 0 else 0) for weight in weights]
    while free:
        scale = left / sum((weights[index] for index in free), Fraction(0))
        for index in free:
            shares[index] = scale * weights[index]
        over = [index for index in free if shares[index] > high]
        under = [index for index in free if shares[index] < low]
        excess = sum(shares[index] - high for index in over) - sum(low - shares[index] for index in under)
        # If bounding makes the sum too small, c has to grow, and who is above already stays there; if too large,
        # c has to shrink, and who is below stays there.
        settled, bound = (over, high) if excess >= 0 else (under, low)
        if not settled:
            break
        for index in settled:
            shares[index] = Fraction(bound)
        free, left = [index for index in free if index not in set(settled)], left - bound * len(settled)
    return shares


def largest_remainder(shares: Sequence[Fraction]) -> list[int]:
    """Whole numbers less than one away from shares whose sum is whole, with the same sum (Hamilton's method).

    Larger shares come first where remainders are equal, then earlier ones.
    """
    floors = [int(share) for share in shares]
    order = sorted(range(len(shares)), key=lambda index: (floors[index] - shares[index], -shares[index], index))
    for index in order[: int(sum(shares, Fraction(0))) - sum(floors)]:
        floors[index] += 1
    return floors
