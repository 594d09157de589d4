"""Values of single training items, and what every method that gives them asks of its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.listing import SEPARATOR


@dataclass(frozen=True)
class ItemValues:
    """What each training item is worth.

    Attributes:
        values: float64, `(items,)`, in the order of the training items; higher is more valuable.
        diagnostics: of the method; numbers, or small arrays of them.
    """

    values: np.ndarray
    diagnostics: dict[str, Any]


def contributor_values(values: np.ndarray, contributors: Sequence[str]) -> dict[str, float]:
    """The value of each contributor, by name in their order: an item's is divided equally among its contributors.

    Args:
        values: `(items,)`.
        contributors: one text an item, several names separated by `;`.

    Returns:
        Values that sum to those of the items.

    Raises:
        InputError: another number of texts than items; an item of nobody.
    """
    if len(contributors) != len(values):
        raise InputError(f"each item has its contributors; got {len(values)} items and {len(contributors)} texts")
    totals: dict[str, float] = {}
    for row, (value, text) in enumerate(zip(values.tolist(), contributors, strict=True)):
        names = {name.strip() for name in text.split(SEPARATOR)} - {""}
        if not names:
            raise InputError(f"every item has a contributor, and row {row} has {text!r}; name one or drop the row")
        for name in names:
            totals[name] = totals.get(name, 0.0) + value / len(names)
    return {name: totals[name] for name in sorted(totals)}


def with_lowest(values: ItemValues, known: np.ndarray) -> ItemValues:
    """Values of all items from those of the known ones: the others share the lowest value.

    Args:
        known: bool, `(items,)`; `values` are of the items where it is True.
    """
    every = np.full(len(known), values.values.min())
    every[known] = values.values
    return ItemValues(every, {**values.diagnostics, "unseen_labels": int((~known).sum())})
