"""The period of a payout, from a date."""

from __future__ import annotations

from datetime import date

import pytest

from royalty.models.payout.periods import PeriodRule, period_of


@pytest.mark.parametrize(
    ("day", "rule", "period"),
    [
        (date(2026, 5, 31), "month", "2026-05"),
        (date(2026, 6, 1), "previous-month", "2026-05"),
        (date(2026, 1, 31), "previous-month", "2025-12"),
        (date(2026, 3, 31), "quarter", "2026-Q1"),
        (date(2026, 4, 1), "quarter", "2026-Q2"),
        (date(2026, 12, 31), "quarter", "2026-Q4"),
        (date(2026, 2, 28), "previous-quarter", "2025-Q4"),
        (date(2026, 12, 31), "previous-quarter", "2026-Q3"),
    ],
)
def test_a_day_has_one_period(day: date, rule: PeriodRule, period: str) -> None:
    assert period_of(day, rule) == period
