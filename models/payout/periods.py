"""The period that a payout is for, from the date on which it is due."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

PeriodRule = Literal["month", "quarter", "previous-month", "previous-quarter"]


def period_of(day: date, rule: PeriodRule) -> str:
    """The calendar period of a day: `2026-05` for a month, `2026-Q2` for a quarter.

    Args:
        rule: `month` and `quarter` are those that the day lies in; `previous-` is the one before.

    Examples:
        >>> period_of(date(2026, 6, 1), "previous-month"), period_of(date(2026, 1, 1), "previous-quarter")
        ('2026-05', '2025-Q4')
    """
    quarter = rule.endswith("quarter")
    if rule.startswith("previous-"):
        first_month = day.month - (day.month - 1) % 3 if quarter else day.month
        day = day.replace(month=first_month, day=1) - timedelta(days=1)
    return f"{day.year}-Q{(day.month + 2) // 3}" if quarter else f"{day:%Y-%m}"
