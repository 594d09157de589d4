"""A pool divided by credit and by use."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest

from royalty.models.base.errors import InputError
from royalty.models.payout.periods import days_of
from royalty.models.payout.usage import Generation, use_shares

GENERATIONS = [
    Generation("1", Decimal("3"), {"Ada": 0.5, "Bob": 0.5}),
    Generation("2", Decimal("1"), {"Bob": 1.0}),
    Generation("3", Decimal("4"), {}),
]
CREDIT = {"Ada": Fraction(3), "Cyd": Fraction(1), "Dan": Fraction(-2)}


def test_two_parts() -> None:
    shares = use_shares(GENERATIONS, CREDIT, training=Fraction(2, 10), unattributable="reserve")
    assert shares.training == pytest.approx({"Ada": 0.15, "Cyd": 0.05})
    assert shares.use == pytest.approx({"Ada": 0.8 * 1.5 / 8, "Bob": 0.8 * 2.5 / 8})
    assert shares.kept == Fraction(4, 10)
    assert shares.unattributed == 0.5
    assert list(shares.total) == ["Ada", "Bob", "Cyd"]


@pytest.mark.parametrize(("goes_to", "training", "use"), [("training", 0.6, 0.4), ("use", 0.2, 0.8)])
def test_where_unattributable_use_goes(goes_to: str, training: float, use: float) -> None:
    shares = use_shares(GENERATIONS, CREDIT, training=Fraction(2, 10), unattributable=goes_to)  # type: ignore[arg-type]
    assert sum(shares.training.values()) == pytest.approx(training)
    assert sum(shares.use.values()) == pytest.approx(use)
    assert shares.kept == 0


def test_the_order_and_the_unit_of_revenue_change_nothing() -> None:
    once = use_shares(GENERATIONS, CREDIT, training=Fraction(0), unattributable="use")
    cents = [Generation(row.id, row.weight * 100, row.shares) for row in reversed(GENERATIONS)]
    assert use_shares(cents, CREDIT, training=Fraction(0), unattributable="use") == once
    assert once.training == {}


def test_a_part_for_nobody_is_refused() -> None:
    with pytest.raises(InputError, match=r"the training part, 60\.0% of the pool, is divided among nobody"):
        use_shares(GENERATIONS, {}, training=Fraction(2, 10), unattributable="training")
    with pytest.raises(InputError, match=r"the output part, 80\.0% of the pool"):
        use_shares(GENERATIONS[2:], CREDIT, training=Fraction(2, 10), unattributable="use")
    with pytest.raises(InputError, match="all of the pool would go to the reserve; pay the period by credit"):
        use_shares(GENERATIONS[2:], CREDIT, training=Fraction(0), unattributable="reserve")
    with pytest.raises(InputError, match="no generation with revenue"):
        use_shares([], CREDIT, training=Fraction(1), unattributable="use")
    with pytest.raises(InputError, match="no generation with revenue"):
        use_shares([Generation("1", Decimal(0), {"Ada": 1.0})], CREDIT, training=Fraction(1), unattributable="use")


@pytest.mark.parametrize(
    ("period", "first", "after"),
    [
        ("2026-05", date(2026, 5, 1), date(2026, 6, 1)),
        ("2026-12", date(2026, 12, 1), date(2027, 1, 1)),
        ("2026-Q1", date(2026, 1, 1), date(2026, 4, 1)),
        ("2026", date(2026, 1, 1), date(2027, 1, 1)),
    ],
)
def test_days_of_a_period(period: str, first: date, after: date) -> None:
    assert days_of(period) == (first, after)


@pytest.mark.parametrize("period", ["", "2026-13", "2026-Q5", "May 2026", "2026-5", "0000"])
def test_no_period(period: str) -> None:
    with pytest.raises(InputError, match="use is counted in a month"):
        days_of(period)
