"""When items were there first."""

from __future__ import annotations

import numpy as np

from royalty.models.data.labelled import Items


def days_of(items: Items) -> np.ndarray | None:
    """The date of each item as a number of days, float64, `(items,)`; nan where it is unknown or not a date.

    None if no item has a date.
    """
    dates = items.described.get("date")
    if dates is None:
        return None
    days = [_day(date) for date in dates]
    return np.array(days)


def _day(date: str) -> float:
    try:
        return float(np.datetime64(date, "D").astype(np.int64)) if date else float("nan")
    except ValueError:
        return float("nan")
