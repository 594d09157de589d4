"""Credit tables as the division of a pool reads them, and the ranks that a payout table adds."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from royalty.models.payout.policies import Credit
from royalty.models.valuation.intervals import rank_ranges

INTERVAL = ("credit", "ci_low", "ci_high", "stderr")
"""Columns with a credit, the ends of its interval and its standard error, which tables of earlier divisions lack."""


def credits_of(table: pd.DataFrame) -> dict[str, Credit]:
    """Credit by contributor, in the order of the table."""
    columns = (table[column].astype(float).tolist() for column in INTERVAL if column in table)
    return dict(zip(table["contributor"], map(Credit, *columns), strict=True))


def table_of(credits: Mapping[str, Credit]) -> pd.DataFrame:
    """The opposite of `credits_of`: a table with the highest credit first."""
    rows = [(name, credit.value, credit.low, credit.high, credit.error) for name, credit in credits.items()]
    table = pd.DataFrame(rows, columns=["contributor", *INTERVAL])
    return table.sort_values(["credit", "contributor"], ascending=[False, True], ignore_index=True)


def images_of(table: pd.DataFrame) -> dict[str, int] | None:
    """Number of images trained on by contributor; None if the table does not say."""
    return dict(zip(table["contributor"], table["items"].tolist(), strict=True)) if "items" in table else None


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns `rank_best` and `rank_worst`; see `royalty.models.valuation.intervals.RankRange`."""
    ranges = rank_ranges(table["ci_low"].to_numpy(float), table["ci_high"].to_numpy(float))
    return table.assign(rank_best=[row.best for row in ranges], rank_worst=[row.worst for row in ranges])
