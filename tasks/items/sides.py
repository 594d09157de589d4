"""Load both sides of a valuation, and store the table of values. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items, numbered
from royalty.models.valuation.items import ItemValues, contributor_rows, with_lowest
from royalty.tasks.items.stages import Sides, ValueOutputs
from royalty.tasks.items.stored_items import load_items


@dataclass(frozen=True)
class OpenSides:
    """Items of both sides.

    Attributes:
        train: all training items, including those with an unseen label.
        val: validation items; without validation, the training items.
        known: bool, `(items,)`; whether the method values the training item. The others get the lowest value.
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
        """Names of the known training items, from their pixels or features and their label."""
        ids: Sequence[str] = self.train.ids
        if self.train.features is not None:  # ids may be row numbers, which can later belong to other items
            ids = [hashlib.sha256(row.tobytes()).hexdigest() for row in self.train.features]
        labels = [""] * len(ids) if self.train.labels is None else self.train.labels.tolist()
        rows = zip(ids, labels, self.known, strict=True)
        return [f"{identity} {label}" for identity, label, known in rows if known]


def open_sides(artifacts: ArtifactStore, sides: Sides, *, unseen_label: str = "error") -> OpenSides:
    """Map the items of both sides, and number their labels.

    Args:
        unseen_label: `worst` sets training items aside whose label validation lacks.

    Raises:
        InputError: they are set aside, and no training item is left.
    """
    train, val = load_items(artifacts, sides.train), load_items(artifacts, sides.val or sides.train)
    known = np.ones(len(train), dtype=bool)
    labels, val_labels = numbered(train.labels, val.labels)
    if labels is not None and val_labels is not None and unseen_label == "worst":
        known = np.isin(labels, val_labels)
        if not known.any():
            raise InputError(
                "training items need labels that validation has, and none has one; use the same label names on both "
                "sides"
            )
        # Numbered by the labels of validation, so that a new unseen label does not renumber the others.
        labels, val_labels = numbered(None if train.labels is None else train.labels[known], val.labels)
    return OpenSides(train, val, known, labels, val_labels)


def keep_values(artifacts: ArtifactStore, sides: OpenSides, values: ItemValues, seconds: float) -> ValueOutputs:
    """Store the table of values, in the order of the items.

    Args:
        values: values of the known items.
        seconds: time of the valuation.
    """
    all_values = values if sides.known.all() else with_lowest(values, sides.known)
    table = pd.DataFrame({**sides.train.columns(), "value": all_values.values})
    return ValueOutputs(
        table=artifacts.put(table.to_parquet(index=False)),
        items=len(table),
        diagnostics=all_values.diagnostics,
        busy_seconds=seconds,
        contributors=(
            None if sides.train.contributors is None else contributor_rows(all_values.values, sides.train.contributors)
        ),
    )
