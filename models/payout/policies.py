"""Policies: what a contributor's credit, with its interval, weighs in the division of a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from royalty.models.valuation.intervals import told_apart

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
    """Contributors in groups, highest credit first; no two of a group can be told apart.

    In order of credit, a contributor joins the tier of the one before if no member of it is told apart from them, and
    opens the next tier otherwise. It is not enough to overlap with the one before: such chains join everybody to
    everybody. Whoever opens a tier is surely below a member of the tier above; two of different tiers may overlap.
    """
    groups: list[list[str]] = []
    common = (0.0, 0.0)  # of the intervals of the tier; nobody in it is told apart from whoever overlaps with this
    for name in sorted(credits, key=lambda name: (-credits[name].value, -credits[name].high)):
        credit = credits[name]
        if groups and not told_apart((credit.low, credit.high), common):
            groups[-1].append(name)
            common = max(common[0], credit.low), min(common[1], credit.high)
        else:
            groups.append([name])
            common = credit.low, credit.high
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
        "Contributors of one tier are paid the same. In order of credit, a tier takes in contributors as long as the "
        "intervals of all its members overlap, so that no two of them can be told apart. They share equally what "
        "would be theirs in proportion to positive credit.",
        equal_tiers,
    ),
}
