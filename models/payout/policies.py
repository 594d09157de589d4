"""Policies: what a contributor's credit, with its interval, weighs in the division of a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

PolicyName = Literal["proportional", "lower-bound", "equal-tiers"]


@dataclass(frozen=True)
class Credit:
    """A credit and the ends of its interval, in units of the utility; higher is more valuable."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Policy:
    """How credit becomes weights, and the sentence that a report prints about it.

    Attributes:
        weigh: a weight for each contributor; a pool is divided in proportion to the positive ones.
    """

    description: str
    weigh: Callable[[Mapping[str, Credit]], dict[str, Fraction]]


def proportional(credits: Mapping[str, Credit]) -> dict[str, Fraction]:
    """The credit itself."""
    return {name: Fraction(credit.value) for name, credit in credits.items()}


def lower_bound(credits: Mapping[str, Credit]) -> dict[str, Fraction]:
    """The end of the interval that is nearer to zero, and zero if zero lies within: what credit is at least."""
    return {name: Fraction(max(credit.low, min(credit.high, 0.0))) for name, credit in credits.items()}


def equal_tiers(credits: Mapping[str, Credit]) -> dict[str, Fraction]:
    """The mean positive credit of the tier; in a tier without any, the mean credit."""
    weights: dict[str, Fraction] = {}
    for tier in tiers(credits):
        values = [Fraction(credits[name].value) for name in tier]
        whole = sum((value for value in values if value > 0), Fraction(0)) or sum(values, Fraction(0))
        weights |= dict.fromkeys(tier, whole / len(tier))
    return {name: weights[name] for name in credits}


def tiers(credits: Mapping[str, Credit]) -> list[list[str]]:
    """Contributors in groups, highest credit first, none of whom is distinguishable from the first of the group.

    The highest credit left opens a tier. Those that follow belong to it as long as their intervals overlap with
    that of the first. It is not enough to overlap with the one before: such chains join everybody to everybody.
    """
    groups: list[list[str]] = []
    for name in sorted(credits, key=lambda name: (-credits[name].value, -credits[name].high)):
        if groups and credits[name].high >= credits[groups[-1][0]].low:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


POLICIES: dict[PolicyName, Policy] = {
    "proportional": Policy(
        "The pool is divided in proportion to positive credit. Payment follows the estimate, not the interval.",
        proportional,
    ),
    "lower-bound": Policy(
        "The pool is divided in proportion to the lower end of each interval, where that is positive: to the credit "
        "that is certain.",
        lower_bound,
    ),
    "equal-tiers": Policy(
        "Contributors who cannot be told apart are paid alike: in order of credit, those whose intervals overlap with "
        "that of the first of their tier share equally what would be theirs in proportion to positive credit.",
        equal_tiers,
    ),
}
