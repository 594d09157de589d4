"""Check that a table fits in memory before any work is done, rather than fail to allocate it later."""

from __future__ import annotations

import os

from royalty.models.base.errors import InputError


def check_fits(title: str, rows: int, columns: int, *, bytes_each: int, remedy: str) -> None:
    """Check that a table fits in the memory of this machine.

    Sizes are converted to Python integers, whose product cannot overflow.

    Args:
        title: of the table, in the plural, including the meaning of its rows and columns.
        rows, columns: size of the table.
        bytes_each: memory for one entry, in all arrays that exist at the same time.
        remedy: what to change, for the message.

    Raises:
        InputError: the table does not fit; the message has its size, the memory it needs and the memory of the machine.
    """
    needed = int(rows) * int(columns) * bytes_each
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise InputError(
            f"{title} must fit in memory: {int(rows):,} by {int(columns):,} take {needed / 2**30:,.0f} GiB, and this "
            f"machine has {available / 2**30:,.0f} GiB. {remedy}"
        )
