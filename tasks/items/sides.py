"""Both sides of a valuation, and the table of values that comes of them. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items, numbered
from royalty.models.valuation.items import ItemValues, with_lowest
from royalty.tasks.config.values import ValueSettings
from royalty.tasks.items.stages import Sides, ValueOutputs
from royalty.tasks.items.stored_items import load_items


@dataclass(frozen=True)
class OpenSides:
    """Items of both sides.

    Attributes:
        train: all training items, those with an unseen label too.
        known: bool, `(items,)`, which of them are valued by the method; the others get the lowest value.
        train_labels: integers, `(known items,)`; None without labels.
        val_labels: integers, `(validation items,)`; None without labels.
    """

    train: Items
    val: Items
    known: np.ndarray
    train_labels: np.ndarray | None
    val_labels: np.ndarray | None

    @property
    def names(self) -> list[str]:
        """What tells the known training items apart: pixels, or features where there are none, and label."""
        ids: Sequence[str] = self.train.ids
        if self.train.features is not None:  # their ids may be row numbers, which another item may have tomorrow
            ids = [hashlib.sha256(row.tobytes()).hexdigest() for row in self.train.features]
        labels = [""] * len(ids) if self.train.labels is None else self.train.labels.tolist()
        rows = zip(ids, labels, self.known, strict=True)
        return [f"{identity} {label}" for identity, label, known in rows if known]


def open_sides(artifacts: ArtifactStore, settings: ValueSettings, sides: Sides) -> OpenSides:
    """Map the items of both sides, and number their labels.

    Raises:
        InputError: no training item has a label that validation has.
    """
    train, val = load_items(artifacts, sides.train), load_items(artifacts, sides.val)
    known = np.ones(len(train), dtype=bool)
    labels, val_labels = numbered(train.labels, val.labels)
    if labels is not None and val_labels is not None and settings.unseen_label == "worst":
        known = np.isin(labels, val_labels)
        if not known.any():
            raise InputError("no training item has a label that validation has; were both sides labelled alike?")
        # By labels of validation alone: an unseen one that comes later would change the numbers of the others.
        labels, val_labels = numbered(None if train.labels is None else train.labels[known], val.labels)
    return OpenSides(train, val, known, labels, val_labels)


def keep_values(artifacts: ArtifactStore, sides: OpenSides, values: ItemValues, seconds: float) -> ValueOutputs:
    """Keep the table of values, in the order of the items.

    Args:
        values: of the known items.
        seconds: that valuing them took.
    """
    every = values if sides.known.all() else with_lowest(values, sides.known)
    items = sides.train
    columns: dict[str, Any] = {"id": items.ids}
    if items.labels is not None:
        columns["label"] = items.labels
    if items.contributors is not None:
        columns["contributor"] = items.contributors
    table = pd.DataFrame({**columns, "value": every.values})
    return ValueOutputs(
        table=artifacts.put(table.to_parquet(index=False)),
        items=len(table),
        diagnostics=every.diagnostics,
        busy_seconds=seconds,
    )
