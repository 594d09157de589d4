"""What a payout table says first, and no more than the intervals allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class Headline:
    """A sentence that may begin with the name of a contributor, which pages show as a name."""

    name: str | None
    rest: str

    def __str__(self) -> str:
        return f"{self.name} {self.rest}" if self.name else self.rest


def headline(rows: Sequence[Mapping[str, Any]]) -> Headline:
    """Say who has the highest credit, or that the intervals do not tell.

    Args:
        rows: the payout table as records, highest credit first.
    """
    pairs = sum(row["rank_best"] - 1 for row in rows)  # of contributors, of whom one is surely above the other
    if len(rows) > 1 and not pairs:
        paid = ": each is paid the same" if _paid_the_same(rows) else ""
        return Headline(None, f"No two of these {len(rows)} contributors can be told apart{paid}.")
    if rows[0]["rank_worst"] == 1:
        return Headline(rows[0]["contributor"], f"surely has the highest credit of {len(rows)} contributors.")
    first = sum(row["rank_best"] == 1 for row in rows)
    return Headline(
        None, f"By their intervals, any of {first} of the {len(rows)} contributors may have the highest credit."
    )


def _paid_the_same(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all amounts are positive and equal, except for the smallest unit of the currency by rounding."""
    if any(row["amount"] is None for row in rows):
        return False
    amounts = [Decimal(row["amount"]) for row in rows]
    unit = Decimal((0, (1,), int(amounts[0].as_tuple().exponent)))
    return min(amounts) > 0 and max(amounts) - min(amounts) <= unit
