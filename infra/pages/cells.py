"""Tables as CSV files that spreadsheets display without running formulas, and the text of single cells."""

from __future__ import annotations

import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rank_text(best: int, worst: int) -> str:
    """A rank, or the range of ranks that intervals leave: `1`, or `2` and `7` joined by an en dash."""
    return str(best) if best == worst else f"{best}\N{EN DASH}{worst}"


def csv_bytes(table: pd.DataFrame) -> bytes:
    """CSV in UTF-8. Text that a spreadsheet would read as a formula is prefixed with an apostrophe.

    Lines end with CR LF (RFC 4180), so that cells with either character are quoted. Numbers keep their signs, also if
    the table contains them as text.
    """
    return table.rename(columns=neutral).map(neutral).to_csv(index=False, lineterminator="\r\n").encode()


def neutral(cell: object) -> object:
    """The cell, prefixed with an apostrophe if its text starts like a formula."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
