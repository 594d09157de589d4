"""Policies: the weight of a contributor's credit and interval in the division of a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from statistics import fmean, variance
from typing import Literal

from royalty.models.valuation.intervals import told_apart

PolicyName = Literal["proportional", "lower-bound", "equal-tiers", "by-reliability"]

USUAL = 1.959964
"""Half the width of a 95% interval of a normal distribution, in standard errors."""


@dataclass(frozen=True)
class Credit:
    """The credit of a contributor, in units of the utility; higher is more valuable.

    Attributes:
        low, high: ends of its interval.
        stderr: its standard error; None: that of a 95% interval of this width.
    """

    value: float
    low: float
    high: float
    stderr: float | None = None

    @property
    def error(self) -> float:
        """The standard error."""
        return (self.high - self.low) / (2 * USUAL) if self.stderr is None else self.stderr


@dataclass(frozen=True)
class Policy:
    """A rule that converts credit to weights.

    Attributes:
        description: the sentences that a report prints about it.
        unpaid: whose weight is not positive.
        weigh: from credits to the weight of each contributor; a pool is divided in proportion to positive weights.
    """

    description: str
    unpaid: str
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
        values = [credits[name].value for name in tier]
        total = _exact_sum([value for value in values if value > 0]) or _exact_sum(values)
        weights |= dict.fromkeys(tier, total / len(tier))
    return {name: weights[name] for name in credits}


def _exact_sum(values: Sequence[float]) -> Fraction:
    """The sum without rounding, over one denominator: fractions that are added one by one are reduced each time."""
    ratios = [value.as_integer_ratio() for value in values]
    common = lcm(*{denominator for _, denominator in ratios})
    return Fraction(sum(numerator * (common // denominator) for numerator, denominator in ratios), common)


def by_reliability(credits: Mapping[str, Credit]) -> dict[str, Fraction]:
    """The mean credit, plus the deviation from it times the reliability of the credits."""
    kept = Fraction(reliability(credits))
    values = {name: Fraction(credit.value) for name, credit in credits.items()}
    mean = _exact_sum([credit.value for credit in credits.values()]) / max(len(values), 1)
    return {name: mean + kept * (value - mean) for name, value in values.items()}


def reliability(credits: Mapping[str, Credit]) -> float:
    """Fraction of the variance between credits that is not the variance of their errors, in [0, 1].

    1 - mean(stderr^2) / var(credit), as the reliability of a test in psychometrics. Credits that are shrunk by their
    estimator vary less than the true ones, so that this is then a lower bound. 0 for equal credits.
    """
    values = [credit.value for credit in credits.values()]
    between = variance(values) if len(values) > 1 else 0.0
    if between == 0:
        return 0.0
    return max(1 - fmean(credit.error**2 for credit in credits.values()) / between, 0.0)


def tiers(credits: Mapping[str, Credit]) -> list[list[str]]:
    """Group contributors, highest credit first, so that no two of a group can be told apart.

    In order of credit, a contributor joins the current tier if no member of it is told apart from them, and opens the
    next tier otherwise. Overlap with the previous contributor is not sufficient, because such chains could join
    contributors whose intervals are far apart. Whoever opens a tier is surely below a member of the tier above; two
    contributors of different tiers may overlap.
    """
    groups: list[list[str]] = []
    common = (0.0, 0.0)  # of the intervals of the tier; nobody in it is told apart from whoever overlaps with this
    for name, credit in sorted(credits.items(), key=lambda item: (-item[1].value, -item[1].high)):
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
        "Contributors with zero or negative credit",
        proportional,
    ),
    "lower-bound": Policy(
        "The pool is divided in proportion to the lower end of each interval, if it is positive.",
        "Contributors whose interval is not above zero",
        lower_bound,
    ),
    "equal-tiers": Policy(
        "Contributors of one tier are paid the same. In order of credit, a tier takes in contributors as long as the "
        "intervals of all its members overlap, so that no two of them can be told apart. Its members share equally "
        "what they would receive together in proportion to positive credit.",
        "Tiers without positive credit",
        equal_tiers,
    ),
    "by-reliability": Policy(
        "The pool is divided in proportion to credit that is drawn towards the mean of all by as much as its noise "
        "demands: each deviation from the mean counts by the reliability, the fraction of the variance between credits "
        "that is not the variance of their errors. Exact credit pays royalties, and noise alone a flat fee.",
        "Contributors whose credit is zero or negative after that",
        by_reliability,
    ),
}
