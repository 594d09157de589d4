"""Pairs of contributors who are substitutes or complements, as the pages show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CHARTED = 12
"""Pairs in the chart of the report."""
TOLD = 3
"""Pairs that are put into words, in the report and on each contributor's page."""


@dataclass(frozen=True)
class PairRow:
    """Two contributors who are surely substitutes or complements.

    Attributes:
        value: what the two add together minus what they add separately; below zero for substitutes.
        ci_low, ci_high: ends of its interval, both on the same side of zero.
        distinct: whether the interval also excludes the mean of all pairs.
    """

    first: str
    second: str
    value: float
    ci_low: float
    ci_high: float
    distinct: bool

    @property
    def amount(self) -> float:
        """How much less or more the two add together."""
        return abs(self.value)

    @property
    def bounds(self) -> tuple[float, float]:
        """Ends of the interval of the amount, the smaller first."""
        least, most = sorted((abs(self.ci_low), abs(self.ci_high)))
        return least, most

    def other(self, name: str) -> str:
        return self.second if name == self.first else self.first


@dataclass(frozen=True)
class Interactions:
    """Which pairs are surely substitutes or complements.

    Attributes:
        rows: largest interactions first.
        named: number of such pairs; `rows` may be fewer.
        tested, unresolved: number of pairs, and of those about which the coalitions say nothing.
        common: mean interaction of all pairs.
        omitted: why no pair was tested; empty if pairs were.
        cheap: pairs are of cheap models of coalitions, and credit was corrected by retrained ones.
    """

    rows: tuple[PairRow, ...]
    named: int
    tested: int
    unresolved: int
    common: float
    omitted: str
    cheap: bool = False

    @property
    def charted(self) -> Sequence[PairRow]:
        return self.rows[:CHARTED]

    @property
    def told(self) -> Sequence[PairRow]:
        return self.rows[:TOLD]

    @property
    def largest(self) -> float:
        """The largest interaction without its sign; 0 if there is none."""
        return max((row.amount for row in self.rows), default=0.0)

    @property
    def axis_values(self) -> list[float]:
        """What the axis of the chart must contain."""
        return [0.0, self.common, *(end for row in self.charted for end in (row.ci_low, row.ci_high))]

    def of(self, name: str) -> tuple[PairRow, ...]:
        """The surest pairs of a contributor that interact more than all pairs do on average."""
        own = [row for row in self.rows if row.distinct and name in (row.first, row.second)]
        surest = sorted(own, key=lambda row: row.amount / (row.ci_high - row.ci_low), reverse=True)
        return tuple(surest[:TOLD])
