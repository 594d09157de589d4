"""Policies: the weight of a contributor's credit and interval in the division of a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

PolicyName = Literal["proportional", "lower-bound", "equal-tiers"]


@dataclass(frozen=True)
class Credit:
    """The credit of a contributor and the ends of its interval, in units of the utility; higher is more valuable."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Policy:
    """A rule that converts credit to weights.

    Attributes:
        description: the sentences that a report prints about it.
        weigh: from credits to the weight of each contributor; a pool is divided in proportion to positive weights.
    """

    description: str
    weigh: Callable[[Mapping[str, Credit]], dict[str, Fraction]]


def proportional(credits: Mapping[str, Credit]) -> dict[str, Fraction]:
    """The credit itself."""
    return {name: Fraction(credit.value) for name, credit in credits.items()}


def lower_bound(credits: Mapping[str, Credit]) -> dict[str, Fraction]:
    """The end of the interval that is closer to zero, or zero if the interval contains zero."""
    return {name: Fraction(max(credit.low, min(credit.high, 0.0))) for name, credit in credits.items()}


def equal_tiers(credits: Mapping[str, Credit]) -> dict[str, Fraction]:
    """The sum of positive credit in the tier divided by its size; without positive credit, the mean credit."""
    weights: dict[str, Fraction] = {}
    for tier in tiers(credits):
        values = [Fraction(credits[name].value) for name in tier]
        total = sum((value for value in values if value > 0), Fraction(0)) or sum(values, Fraction(0))
        weights |= dict.fromkeys(tier, total / len(tier))
    return {name: weights[name] for name in credits}


def tiers(credits: Mapping[str, Credit]) -> list[list[str]]:
    """Group contributors, highest credit first, so that none is distinguishable from the first of its group.

    The highest remaining credit opens a tier. The following contributors join it while their intervals overlap with
    that of its first member. Overlap with the previous contributor is not sufficient, because such chains could join
    contributors whose intervals are far apart.
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
        "The pool is divided in proportion to the lower end of each interval, if it is positive.",
        lower_bound,
    ),
    "equal-tiers": Policy(
        "Contributors whose credit cannot be distinguished are paid the same. A tier consists of the contributors, in "
        "order of credit, whose intervals overlap with that of its first member. Its members share equally what they "
        "would receive together in proportion to positive credit.",
        equal_tiers,
    ),
}
