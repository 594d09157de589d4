"""Business days of TARGET, the settlement system of the euro: the days on which banks execute SEPA credit transfers."""

from __future__ import annotations

from datetime import date, timedelta

from dateutil.easter import easter

FIXED = {(1, 1), (5, 1), (12, 25), (12, 26)}
"""Month and day of holidays with a fixed date: New Year, Labour Day, and the two days of Christmas."""


def is_business_day(day: date) -> bool:
    """Whether TARGET is open: not on weekends, the fixed holidays, Good Friday and Easter Monday."""
    sunday = easter(day.year)
    moving = {sunday - timedelta(days=2), sunday + timedelta(days=1)}
    return day.weekday() < 5 and (day.month, day.day) not in FIXED and day not in moving


def next_business_day(day: date) -> date:
    """The first business day after a day."""
    following = day + timedelta(days=1)
    while not is_business_day(following):
        following += timedelta(days=1)
    return following
