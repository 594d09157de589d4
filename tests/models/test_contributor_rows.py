"""Values of items by contributor: sums, numbers of items and means."""

from __future__ import annotations

import numpy as np

from royalty.models.valuation.items import NOBODY, contributor_rows


def test_sums_and_means_of_shared_items_by_hand() -> None:
    rows = contributor_rows(np.array([1.0, -2.0, 4.0]), ["ann", "bob", "ann;bob"])
    assert rows == [
        {"contributor": "ann", "items": 1.5, "value": 3.0, "mean": 2.0},
        {"contributor": "bob", "items": 1.5, "value": 0.0, "mean": 0.0},
    ]
    assert sum(row["items"] for row in rows) == 3
    assert sum(row["value"] for row in rows) == 3.0


def test_the_highest_value_is_first_and_equal_ones_are_by_name() -> None:
    rows = contributor_rows(np.array([0.0, 1.0, 0.0]), ["cem", "bob", "ann"])
    assert [row["contributor"] for row in rows] == ["bob", "ann", "cem"]


def test_items_of_nobody_have_a_row() -> None:
    rows = {row["contributor"]: row for row in contributor_rows(np.array([1.0, -3.0, 5.0]), ["ann", "", " ; "])}
    assert rows.keys() == {"ann", NOBODY}
    assert (rows[NOBODY]["items"], rows[NOBODY]["value"]) == (2, 2.0)
