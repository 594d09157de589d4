"""When items were there first."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from royalty.models.data.labelled import Items


def days_of(items: Items) -> np.ndarray | None:
    """The date of each item as a number of days, float64, `(items,)`; nan where it is unknown or not a date.

    None if no item has a date.
    """
    dates = items.described.get("date")
    if dates is None:
        return None
    return days_of_text(dates)


def days_of_text(dates: Iterable[str]) -> np.ndarray:
    """The same of texts, of which any may be empty."""
    return np.array([_day(date) for date in dates], dtype=np.float64)


def _day(date: str) -> float:
    try:
        return float(np.datetime64(date, "D").astype(np.int64)) if date else float("nan")
    except ValueError:
        return float("nan")
