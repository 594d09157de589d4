"""Tables as CSV that a spreadsheet shows and does not run."""

from __future__ import annotations

import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_bytes(table: pd.DataFrame) -> bytes:
    """CSV, UTF-8. Text that a spreadsheet would take for a formula gets an apostrophe before it.

    Lines end as RFC 4180 has it, so that a cell with either half of a line end in it is quoted. Numbers keep their
    signs: they are numbers in the table, or text that says nothing but a number.
    """
    return table.rename(columns=neutral).map(neutral).to_csv(index=False, lineterminator="\r\n").encode()


def neutral(cell: object) -> object:
    """The cell, with an apostrophe before text that begins as a formula does."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
