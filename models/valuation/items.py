"""Values of single training items, and their sums by contributor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.teams import credited

NOBODY = "(no contributor)"
"""The row of items without a contributor."""


@dataclass(frozen=True)
class ItemValues:
    """The values of training items.

    Attributes:
        values: float64, `(items,)`, in the order of the training items; higher is more valuable.
        diagnostics: of the method, by name; numbers, text, or lists of numbers.
        val_values: float64, `(validation items,)`, values of the validation items; higher is better. None for a method
            that does not value them.
        batches: integers, `(items,)`, the number of each item's batch, from 0, or -1 for an item in no batch. None for
            a method without batches.
        batch_values: float64, `(batches,)`, values of the batches as a whole; higher is better. None likewise.
    """

    values: np.ndarray
    diagnostics: dict[str, Any]
    val_values: np.ndarray | None = field(default=None, kw_only=True)
    batches: np.ndarray | None = field(default=None, kw_only=True)
    batch_values: np.ndarray | None = field(default=None, kw_only=True)


def contributor_values(values: np.ndarray, contributors: Sequence[str]) -> dict[str, float]:
    """Sum the values of items by contributor; the value of an item is divided equally among its contributors.

    Args:
        values: `(items,)`.
        contributors: one text for each item, several names separated by `;`.

    Returns:
        The value of each contributor, by name, sorted by name. Their sum is that of the items.

    Raises:
        InputError: not one text for each item; an item without a contributor.
    """
    if len(contributors) != len(values):
        raise InputError(f"each item has one text of names; got {len(values)} items and {len(contributors)} texts")
    totals: dict[str, float] = {}
    for row, (value, text) in enumerate(zip(values.tolist(), contributors, strict=True)):
        names = credited(text)
        if not names:
            raise InputError(f"every item has a contributor, and row {row} has {text!r}; name one, or drop the row")
        for name in names:
            totals[name] = totals.get(name, 0.0) + value / len(names)
    return {name: totals[name] for name in sorted(totals)}


def contributor_rows(values: np.ndarray, contributors: Sequence[str]) -> list[dict[str, Any]]:
    """The values of each contributor's items: `contributor`, `items`, `value` (their sum), `mean`; highest sum first.

    An item of several contributors counts in equal parts, so that `items` may be a fraction. Items without a
    contributor have a row, too, so that the sums are those of all items.

    Args:
        values: `(items,)`.
        contributors: one text for each item, several names separated by `;`, or empty.
    """
    owners = [text if credited(text) else NOBODY for text in contributors]
    counts, sums = contributor_values(np.ones(len(values)), owners), contributor_values(values, owners)
    rows = [
        {"contributor": name, "items": counts[name], "value": sums[name], "mean": sums[name] / counts[name]}
        for name in counts
    ]
    return sorted(rows, key=lambda row: -row["value"])


def with_lowest(values: ItemValues, known: np.ndarray) -> ItemValues:
    """Extend values of some items to all items; the other items get the lowest value, and are in no batch.

    Args:
        values: of the items where `known` is True, in their order.
        known: bool, `(items,)`.
    """
    extended = np.full(len(known), values.values.min())
    extended[known] = values.values
    diagnostics = {**values.diagnostics, "unseen_labels": int((~known).sum())}
    batches = values.batches
    if batches is not None:
        batches = np.full(len(known), -1)
        batches[known] = values.batches
    return replace(values, values=extended, diagnostics=diagnostics, batches=batches)
