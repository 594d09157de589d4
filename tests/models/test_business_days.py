"""The calendar of TARGET: published holidays, and the day after them."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from royalty.models.payout.business_days import is_business_day, next_business_day

CLOSED = {  # on weekdays, as the European Central Bank published them
    2024: ["01-01", "03-29", "04-01", "05-01", "12-25", "12-26"],
    2025: ["01-01", "04-18", "04-21", "05-01", "12-25", "12-26"],
    2026: ["01-01", "04-03", "04-06", "05-01", "12-25"],
}


@pytest.mark.parametrize("year", CLOSED)
def test_weekdays_on_which_target_is_closed(year: int) -> None:
    days = [date(year, 1, 1) + timedelta(days=offset) for offset in range(365)]
    closed = [f"{day:%m-%d}" for day in days if day.weekday() < 5 and not is_business_day(day)]
    assert closed == CLOSED[year]
    assert not any(is_business_day(day) for day in days if day.weekday() >= 5)


def test_the_next_day_skips_weekends_and_holidays() -> None:
    assert next_business_day(date(2026, 4, 2)) == date(2026, 4, 7)
    assert next_business_day(date(2026, 6, 1)) == date(2026, 6, 2)
    assert next_business_day(date(2025, 12, 24)) == date(2025, 12, 29)
