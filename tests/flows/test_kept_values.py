"""Tables of values: contributors."""

from __future__ import annotations

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


def test_contributors_have_the_values_of_their_items(context: StageContext) -> None:
    owners = ("ann", "ann", "bob", "bob", "bob", "ann;bob")
    opened = sides(context, ["cat", "dog", "emu"], owners)
    kept = keep_values(context.artifacts, opened, ItemValues(np.array([*VALUES, 4.0]), {}), 0.0)
    assert kept.contributors == [
        {"contributor": "ann", "items": 2.5, "value": 6.0, "mean": 2.4},
        {"contributor": "bob", "items": 3.5, "value": 1.0, "mean": 1.0 / 3.5},
    ]
