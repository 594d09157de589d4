"""Groups of copies: who had an image first, and what its copies get."""

from __future__ import annotations

from typing import get_args

import numpy as np

from royalty.models.base.choices import Division
from royalty.models.base.errors import InputError


def earliest_members(groups: np.ndarray, since: np.ndarray | None = None) -> np.ndarray:
    """The row of the earliest member of every group, int64, `(groups,)`, ascending.

    Args:
        groups: integers, `(items,)`; items with the same number are copies of each other.
        since: when each item was there first, `(items,)`, in any unit, lower is earlier; nan: unknown, which is later
            than any known time. Of equal times, and without times, the lowest row is the earliest.
    """
    order = np.arange(len(groups)) if since is None else np.argsort(since, kind="stable")  # nan is sorted last
    _, first = np.unique(groups[order], return_index=True)
    rows: np.ndarray = np.sort(order[first])
    return rows


def earliest_of_each(groups: np.ndarray, since: np.ndarray | None = None) -> np.ndarray:
    """For each item the row of the earliest member of its group, int64, `(items,)`; the arguments of
    `earliest_members`."""
    rows = earliest_members(groups, since)
    _, numbers = np.unique(groups, return_inverse=True)
    of_group = np.empty(len(rows), dtype=np.int64)
    of_group[numbers[rows]] = rows
    found: np.ndarray = of_group[numbers]
    return found


def divided(values: np.ndarray, earliest: np.ndarray, division: Division) -> np.ndarray:
    """Divide the values of groups among their members, float64, `(items,)`; their sum stays.

    Args:
        values: `(items,)`; the value of a group at its earliest member, and 0 at its other members.
        earliest: the result of `earliest_of_each`.
        division: `earliest`: the earliest member has all, so copies earn nothing and take nothing. `equal`: every
            member has the same; this is for sets whose copies are known to be in good faith, because anybody can halve
            the value of an image by copying it.
    """
    if division == "earliest":
        return values
    shared: np.ndarray = values[earliest] / np.bincount(earliest, minlength=len(values))[earliest]
    return shared


def checked_groups(groups: np.ndarray, since: np.ndarray | None, division: Division, items: int) -> None:
    """Check the groups of items.

    Raises:
        InputError: not one integer and one time for each item, or another rule of division.
    """
    if groups.shape != (items,) or groups.dtype.kind not in "iu":
        raise InputError(
            f"each item has one group, an integer; got {groups.dtype} of shape {groups.shape} for {items} items. "
            "Number the groups, and give an item without copies a number of its own"
        )
    if since is not None and since.shape != (items,):
        raise InputError(f"each item has one time; got shape {since.shape} for {items} items. Use nan where unknown")
    if division not in get_args(Division):
        raise InputError(
            f"the value of a group goes to its `earliest` member, or to all of them (`equal`); got {division!r}"
        )
