"""Whether what a method has to hold fits in memory: refused before any work, not by a failed allocation after it."""

from __future__ import annotations

import os

from royalty.models.base.errors import InputError


def check_fits(title: str, rows: int, columns: int, *, bytes_each: int, remedy: str) -> None:
    """Refuse a table that this machine's memory cannot hold.

    Sizes are multiplied as Python's integers, which do not overflow, whatever type they come in.

    Args:
        title: of what is held, with what its rows and columns are.
        bytes_each: of an entry, over all arrays that are held at once.
        remedy: what to change.

    Raises:
        InputError: with the sizes, the memory they take and the memory there is.
    """
    needed = int(rows) * int(columns) * bytes_each
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise InputError(
            f"{title} are held in memory: {int(rows):,} by {int(columns):,} take {needed / 2**30:,.0f} GiB, and this "
            f"machine has {there / 2**30:,.0f}. {remedy}"
        )
