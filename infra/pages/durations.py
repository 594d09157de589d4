"""Times as people read them."""

from __future__ import annotations

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
"""Seconds in each unit, largest first."""


def duration(seconds: float) -> str:
    """A time in its two largest units, such as `3 h 20 min`; below a minute in seconds with one decimal."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    place = next(index for index, (size, _) in enumerate(UNITS) if whole >= size)
    (large, name), (small, small_name) = UNITS[place : place + 2]
    whole = round(whole / small) * small
    if place and whole >= UNITS[place - 1][0]:  # rounding reached the next larger unit
        return duration(whole)
    count, rest = whole // large, whole % large // small
    return f"{count} {name} {rest} {small_name}" if rest else f"{count} {name}"
