"""Tables over draws: means of what each draw measured, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from royalty.models.judging.draws import OverDraws, over_draws
from royalty.tasks.stages.stage import TableRow


def summary_of(rows: Sequence[TableRow], *by: str) -> list[TableRow]:
    """AUROC over draws: one row for each corruption, method and value of the columns `by`, with its 95% interval."""
    return rows_over_draws(rows, ("corruption", "method", *by), "auroc", "auroc")


def rows_over_draws(rows: Sequence[TableRow], columns: Sequence[str], measured: str, name: str) -> list[TableRow]:
    """The mean of a column over draws, as the column `name`, with its 95% interval, for each value of `columns`."""
    drawn: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        if row[measured] is not None:
            drawn.setdefault(tuple(row[column] for column in columns), []).append(row[measured])
    return [
        dict(zip(columns, place, strict=True)) | {"draws": len(values)} | interval(name, over_draws(values))
        for place, values in drawn.items()
    ]


def summary_with_means(rows: Sequence[TableRow], *by: str) -> list[TableRow]:
    """`summary_of`, with the mean over all corruptions of each draw as one more (`all`)."""
    by_draw: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        by_draw.setdefault((row["method"], row["draw"], *(row[column] for column in by)), []).append(row["auroc"])
    means = [
        {"corruption": "all", "method": method, "auroc": float(np.mean(aurocs))} | dict(zip(by, place, strict=True))
        for (method, _, *place), aurocs in by_draw.items()
    ]
    return summary_of([*rows, *means], *by)


def interval(name: str, result: OverDraws) -> TableRow:
    """The mean as the column `name`, and its 95% interval."""
    return {name: result.mean, "low": known(result.low), "high": known(result.high)}


def known(number: float) -> float | None:
    """A number of a table; None if it is not defined."""
    return None if np.isnan(number) else number
