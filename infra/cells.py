"""Tables as CSV that a spreadsheet shows and does not run."""

from __future__ import annotations

import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_bytes(table: pd.DataFrame) -> bytes:
    """CSV, UTF-8. Text that a spreadsheet would take for a formula gets an apostrophe before it.

    Numbers keep their signs; they are numbers in the table, or text of which nothing but a number can be made.
    """
    return table.rename(columns=neutral).map(neutral).to_csv(index=False).encode()


def neutral(cell: object) -> object:
    """The cell, with an apostrophe before text that begins as a formula does."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
