"""Tables of values: values within classes, the note on class shares, contributors, and values of validation items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from royalty.models.data.labelled import Items
from royalty.models.valuation.items import ItemValues
from royalty.tasks.items.sides import OpenSides, keep_values, open_sides
from royalty.tasks.items.stages import Sides
from royalty.tasks.items.stored_items import keep_items, load_values
from royalty.tasks.stages.context import StageContext, open_stores, stage_context

LABELS = np.array(["cat", "cat", "cat", "dog", "dog", "emu"])
VALUES = np.array([3.0, 1.0, -1.0, 5.0, -5.0])


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return stage_context(open_stores(tmp_path / "home", "", tmp_path / "weights", 1), "key", lambda _: None)


def sides(context: StageContext, val_labels: list[str], owners: tuple[str, ...] | None = None) -> OpenSides:
    """Training items of three labels, of which validation may lack some."""
    digests = [
        keep_items(
            context.artifacts,
            Items(tuple(f"{at}{side}" for at in range(len(labels))), None, np.eye(len(labels)), labels, contributors),
        ).items
        for side, labels, contributors in (("t", LABELS, owners), ("v", np.array(val_labels), None))
    ]
    return open_sides(context.artifacts, Sides(*digests), unseen_label="worst")


def test_values_within_classes_stand_beside_values(context: StageContext) -> None:
    opened = sides(context, ["cat", "dog"])
    kept = keep_values(context.artifacts, opened, ItemValues(VALUES, {}), 0.0, by_transport=True)
    table = load_values(context.artifacts, kept.table)
    assert table["value"].tolist() == [3, 1, -1, 5, -5, -5]
    # Nothing is known of the class that validation lacks, so that it has the lowest value here, too.
    assert table["value_within_class"].tolist() == [2, 0, -2, 5, -5, -5]
    plain = keep_values(context.artifacts, opened, ItemValues(VALUES, {}), 0.0, by_transport=False)
    assert list(load_values(context.artifacts, plain.table)) == ["id", "label", "value"]
    assert plain.notes == []


def test_shares_that_differ_are_named_with_the_most_different_first(context: StageContext) -> None:
    (note,) = keep_values(
        context.artifacts, sides(context, ["cat", "dog", "dog", "dog"]), ItemValues(VALUES, {}), 0.0, by_transport=True
    ).notes
    assert "`cat` (60.0% of training, 25.0% of validation), `dog` (40.0%, 75.0%)" in note
    assert "35.0% of the mass" in note
    even = sides(context, ["cat", "cat", "cat", "dog", "dog"])
    assert keep_values(context.artifacts, even, ItemValues(VALUES, {}), 0.0, by_transport=True).notes == []


def test_contributors_have_the_values_of_their_items(context: StageContext) -> None:
    owners = ("ann", "ann", "bob", "bob", "bob", "ann;bob")
    opened = sides(context, ["cat", "dog", "emu"], owners)
    kept = keep_values(context.artifacts, opened, ItemValues(np.array([*VALUES, 4.0]), {}), 0.0, by_transport=True)
    assert kept.contributors == [
        {"contributor": "ann", "items": 2.5, "value": 6.0, "mean": 2.4},
        {"contributor": "bob", "items": 3.5, "value": 1.0, "mean": 1.0 / 3.5},
    ]


def test_validation_items_have_a_table_of_their_own(context: StageContext) -> None:
    opened = sides(context, ["cat", "dog"])
    values = ItemValues(VALUES, {}, val_values=np.array([0.5, -0.5]))
    kept = keep_values(context.artifacts, opened, values, 0.0, by_transport=True)
    table = load_values(context.artifacts, kept.val_table)
    assert table.to_dict("list") == {"id": ["0v", "1v"], "label": ["cat", "dog"], "value": [0.5, -0.5]}
    without = keep_values(context.artifacts, opened, replace(values, val_values=None), 0.0, by_transport=True)
    assert without.val_table == ""


def test_batches_have_a_table_of_their_own(context: StageContext) -> None:
    opened = sides(context, ["cat", "dog"])
    values = ItemValues(VALUES, {}, batches=np.array([0, 1, 0, 0, 1]), batch_values=np.array([0.5, -0.5]))
    kept = keep_values(context.artifacts, opened, values, 0.0, by_transport=True)
    table = load_values(context.artifacts, kept.batch_table)
    assert table.to_dict("list") == {"batch": [0, 1], "items": [3, 2], "value": [0.5, -0.5]}
    of_items = load_values(context.artifacts, kept.table)["batch"]
    assert of_items[:5].tolist() == [0, 1, 0, 0, 1]
    assert of_items.isna().tolist() == [False] * 5 + [True]  # the item that validation has no label for
    plain = keep_values(context.artifacts, opened, ItemValues(VALUES, {}), 0.0, by_transport=True)
    assert plain.batch_table == ""
