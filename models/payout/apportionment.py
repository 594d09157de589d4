"""Divide a whole number in proportion to weights, within bounds, in exact integer arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm


@dataclass(frozen=True)
class Shares:
    """Shares with a common denominator.

    Attributes:
        numerators: of each share, in the order of the weights; not negative.
        denominator: positive.
    """

    numerators: list[int]
    denominator: int

    @property
    def exact(self) -> list[Fraction]:
        return [Fraction(numerator, self.denominator) for numerator in self.numerators]

    def equals(self, whole: int) -> list[bool]:
        """Whether each share is this whole number."""
        numerator = whole * self.denominator
        return [share == numerator for share in self.numerators]


def whole_weights(weights: Sequence[Fraction]) -> list[int]:
    """Weights multiplied by their common denominator, which does not change their proportions."""
    common = lcm(*{weight.denominator for weight in weights})
    return [weight.numerator * (common // weight.denominator) for weight in weights]


def bounded_shares(total: int, weights: Sequence[int], *, low: int, high: int) -> Shares:
    """Shares min(max(c w, low), high) of the positive weights w, where c makes them sum to the total.

    What the upper bound cuts off is distributed to the other shares in proportion, and what the lower bound adds is
    taken from the other shares in the same way.

    Args:
        weights: in any unit; see `whole_weights`.
        low: at most `high`, and at most the total divided by the number of positive weights.

    Returns:
        A share for each weight, in their order; zero for weights that are not positive. The shares sum to the total, or
        each positive weight has the share `high` if even these do not exceed the total.
    """
    free, remaining = [index for index, weight in enumerate(weights) if weight > 0], total
    settled_at: dict[int, int] = {}
    if high * len(free) <= total:
        return Shares([high if weight > 0 else 0 for weight in weights], 1)
    whole = sum(weights[index] for index in free)
    while free:
        most, least = high * whole, low * whole  # bounds of remaining * weight
        over = [index for index in free if remaining * weights[index] > most]
        under = [index for index in free if remaining * weights[index] < least]
        placed = remaining * (sum(weights[index] for index in over) + sum(weights[index] for index in under))
        excess = placed - most * len(over) - least * len(under)
        # If bounding makes the sum too small, c must grow, so shares above the upper bound stay there. If it makes
        # the sum too large, c must shrink, so shares below the lower bound stay there.
        settled, bound = (over, high) if excess >= 0 else (under, low)
        if not settled:
            break
        settled_at |= dict.fromkeys(settled, bound)
        free, remaining = [index for index in free if index not in settled_at], remaining - bound * len(settled)
        whole = sum(weights[index] for index in free)
    denominator = whole if free else 1
    numerators = [0] * len(weights)
    for index in free:
        numerators[index] = remaining * weights[index]
    for index, bound in settled_at.items():
        numerators[index] = bound * denominator
    return Shares(numerators, denominator)


def largest_remainder(shares: Shares) -> list[int]:
    """Round shares with a whole sum to whole numbers with the same sum, each by less than one (Hamilton's method).

    Among equal remainders, larger shares are rounded up first, then earlier ones.
    """
    numerators, denominator = shares.numerators, shares.denominator
    floors = [numerator // denominator for numerator in numerators]
    missing = sum(numerators) // denominator - sum(floors)
    if missing:
        remainders = [numerator % denominator for numerator in numerators]
        # Sorted in reverse, equal elements keep their order.
        order = sorted(range(len(floors)), key=lambda index: (remainders[index], numerators[index]), reverse=True)
        for index in order[:missing]:
            floors[index] += 1
    return floors


def whole_parts(total: int, shares: Sequence[float]) -> list[int]:
    """Divide a whole number in proportion to shares, in whole numbers that sum to it.

    Args:
        total: at least 0.
        shares: at least one of them positive; they count to 53 binary digits.
    """
    weights = [round(share * 2**53) for share in shares]
    return largest_remainder(bounded_shares(total, weights, low=0, high=total))
