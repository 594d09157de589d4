"""The period that a payout is for, from the date on which it is due."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Literal

from royalty.models.base.errors import InputError

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


def days_of(period: str) -> tuple[date, date]:
    """The first day of a calendar period, and the day after its last.

    Args:
        period: a month such as `2026-05`, a quarter such as `2026-Q2`, or a year.

    Raises:
        InputError: another text.

    Examples:
        >>> days_of("2026-Q4")
        (datetime.date(2026, 10, 1), datetime.date(2027, 1, 1))
    """
    match = re.fullmatch(r"(\d{4})(?:-(?:(0[1-9]|1[0-2])|Q([1-4])))?", period)
    if match is None or match[1] == "0000":
        raise InputError(
            f"use is counted in a month such as 2026-05, a quarter such as 2026-Q2, or a year; got {period!r}"
        )
    year, months = int(match[1]), 1 if match[2] else 3 if match[3] else 12
    first = int(match[2]) if match[2] else 3 * int(match[3]) - 2 if match[3] else 1
    after = first + months
    return date(year, first, 1), date(year + (after > 12), after - 12 * (after > 12), 1)
