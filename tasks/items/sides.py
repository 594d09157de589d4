"""Load both sides of a valuation, and store the table of values. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items, numbered
from royalty.models.valuation.class_shares import ClassShares, class_shares, within_class
from royalty.models.valuation.items import ItemValues, contributor_rows, with_lowest
from royalty.tasks.items.stages import Sides, ValueOutputs
from royalty.tasks.items.stored_items import load_items

SHOWN = 3
"""Most classes that the note on class shares names."""


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


def keep_values(
    artifacts: ArtifactStore, sides: OpenSides, values: ItemValues, seconds: float, *, by_transport: bool
) -> ValueOutputs:
    """Store the table of values, in the order of the items, and those of validation items and of batches with values.

    Args:
        values: values of the known items.
        seconds: time of the valuation.
        by_transport: the values depend on class shares, so that the table also has values within classes, and shares
            that differ are noted.
    """
    whole = _extended(values, sides.known)
    columns, notes = {**sides.train.columns(), "value": whole.values}, list[str]()
    if whole.batches is not None:
        columns["batch"] = pd.Series(whole.batches, dtype="Int64").mask(whole.batches < 0)
    if by_transport and sides.train_labels is not None and sides.val_labels is not None:
        centred = replace(values, values=within_class(values.values, sides.train_labels))
        columns["value_within_class"] = _extended(centred, sides.known).values
        notes = _notes(sides, class_shares(sides.train_labels, sides.val_labels))
    owners = sides.train.contributors
    return ValueOutputs(
        table=_stored(artifacts, columns),
        items=len(sides.known),
        diagnostics=whole.diagnostics,
        busy_seconds=seconds,
        contributors=None if owners is None else contributor_rows(whole.values, owners),
        val_table=(
            "" if values.val_values is None else _stored(artifacts, {**sides.val.columns(), "value": values.val_values})
        ),
        notes=notes,
        batch_table="" if values.batches is None else _stored(artifacts, _of_batches(values)),
    )


def _extended(values: ItemValues, known: np.ndarray) -> ItemValues:
    return values if known.all() else with_lowest(values, known)


def _of_batches(values: ItemValues) -> dict[str, Any]:
    batches, items = np.unique(np.asarray(values.batches), return_counts=True)
    return {"batch": batches, "items": items, "value": values.batch_values}


def _stored(artifacts: ArtifactStore, columns: Mapping[str, Any]) -> str:
    return artifacts.put(pd.DataFrame(columns).to_parquet(index=False))


def _notes(sides: OpenSides, shares: ClassShares) -> list[str]:
    """A sentence on class shares if they differ, with those that differ most."""
    if not shares.differ or sides.val_labels is None or sides.val.labels is None:
        return []
    names = dict(zip(sides.val_labels.tolist(), sides.val.labels.tolist(), strict=True))
    rows = list(zip(shares.labels[:SHOWN].tolist(), shares.train[:SHOWN], shares.val[:SHOWN], strict=True))
    named = [
        f"`{names[label]}` ({train:.1%}{' of training' * first}, {val:.1%}{' of validation' * first})"
        for first, (label, train, val) in zip([True] + [False] * len(rows), rows, strict=False)
    ]
    return [
        "Class shares differ between training and validation, most for "
        f"{', '.join(named)}. Transport moves {shares.mass:.1%} of the mass to other classes for that reason alone, so "
        "that the values of all items of a class depend on its share. Use equal shares on both sides, or compare items "
        "within their class by the column `value_within_class`"
    ]
