"""One rule converts what callers give: what NumPy reads is taken, and what it cannot read is refused by name."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from royalty.models.base.arrays import as_features, as_labels, as_masks, as_number, as_vector, as_whole
from royalty.models.base.errors import InputError

MASKS = np.array([[True, False, True], [False, True, False]])
ROWS = [[1, 0, 1], [0, 1, 0]]
NUMBERS = np.array([0.5, 2.0, -1.0])


@pytest.mark.parametrize(
    "given",
    [
        ROWS,
        tuple(map(tuple, ROWS)),
        np.array(ROWS),
        np.array(ROWS, np.uint8),
        np.array(ROWS, float),
        np.array(ROWS, object),
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS, dtype="boolean"),
        pd.DataFrame(ROWS, dtype="Int64"),
        torch.tensor(ROWS),
        [np.array(row, bool) for row in ROWS],
    ],
)
def test_masks_are_read_from_what_numpy_reads(given: Any) -> None:
    masks = as_masks(given, "masks")
    assert masks.dtype == bool
    assert (masks == MASKS).all()


@pytest.mark.parametrize(
    "given",
    [
        [0.5, 2, -1],
        (0.5, 2.0, -1.0),
        pd.Series(NUMBERS, index=[7, 8, 9]),
        pd.Series(NUMBERS, dtype="Float64"),
        [Decimal("0.5"), Decimal(2), Decimal(-1)],
        [Fraction(1, 2), 2, -1.0],
        NUMBERS.astype(np.float32),
        torch.tensor(NUMBERS),
        NUMBERS.astype(">f8"),
    ],
)
def test_vectors_are_float64(given: Any) -> None:
    vector = as_vector(given, "utilities")
    assert vector.dtype == np.float64
    assert vector.dtype.isnative
    assert vector.tolist() == NUMBERS.tolist()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ([[1, 2], [3, 4]], np.float64),
        ([[1.0, 2.0], [3.0, 4.0]], np.float64),
        (np.array([[1, 2], [3, 4]], np.uint8), np.float32),
        (np.array([[1, 2], [3, 4]], np.float32), np.float32),
        (np.array([[1, 2], [3, 4]], ">f4"), np.float32),
        (np.array([[1, 2], [3, 4]], np.longdouble), np.float64),
        (pd.DataFrame({"a": [1, 3], "b": [2.0, 4.0]}), np.float64),
        (pd.Series([np.array([1.0, 2.0]), np.array([3.0, 4.0])]), np.float64),
        (torch.tensor([[1.0, 2.0], [3.0, 4.0]]), np.float32),
    ],
)
def test_features_are_floating_point(given: Any, kind: type) -> None:
    features = as_features(given, "train_features")
    assert features.dtype == kind
    assert features.tolist() == [[1, 2], [3, 4]]


def test_what_has_the_right_type_is_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.ones((4, 2), np.float32))
    stored = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert np.shares_memory(as_features(stored, "train_features"), stored)
    assert as_masks(MASKS, "masks") is MASKS
    assert as_vector(NUMBERS, "utilities") is NUMBERS


def test_labels_are_integers_where_they_can_be() -> None:
    for given in ([0, 1, 1], pd.Series([0, 1, 1]), [False, True, True], np.array([0, 1, 1], ">i4")):
        labels = as_labels(given, "train_labels")
        assert labels is not None
        assert np.issubdtype(labels.dtype, np.integer)
        assert labels.tolist() == [0, 1, 1]
    assert as_labels(None, "train_labels") is None
    unsigned = as_labels(np.array([0, 1], np.uint64), "train_labels")
    assert unsigned is not None
    assert np.concatenate([unsigned, [-1]]).dtype == np.int64
    with pytest.raises(InputError, match="labels lie below 2"):
        as_labels(np.array([2**63], np.uint64), "train_labels")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[0, 1], [2, 0]], "`masks` has 1 or True where .*; got 2 in row 1, column 0"),
        ([[0.0, np.nan]], "got nan in row 0, column 1"),
        ([[0, 1], [1]], "`masks` has rows of equal length; got a list whose rows differ"),
        ([0, 1], r"a column for each contributor; got shape \(2,\)"),
        ([["yes", "no"]], "`masks` holds real numbers; got <U3"),
        ([[0, None]], "got None at 0, 1"),
        (pd.DataFrame({"a": [1, 0], "b": pd.array([1, None], dtype="Int64")}), "got <NA> at 1, 1"),
        (np.ma.masked_equal([[0, 1]], 1), "got a masked array with masked values"),
        (torch.ones(1, 2, requires_grad=True), "cannot read this Tensor"),
    ],
)
def test_masks_that_are_none_are_refused_by_name(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_masks(given, "masks")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([["0.5"]], "`utilities` holds real numbers; got <U3"),
        ([[0.5]], r"`utilities` is a sequence of numbers; got shape \(1, 1\)"),
        (0.5, r"got shape \(\)"),
        ([1 + 2j], "got complex128"),
        ([0.5, "x"], "got <U"),
        ([0.5, object()], "got <object object at .* at 1"),
        (pd.Series(pd.to_datetime(["2026-01-01"])), "got datetime64"),
    ],
)
def test_vectors_that_are_none_are_refused_by_name(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_vector(given, "utilities")


def test_labels_in_words_are_refused_with_a_way_to_number_them() -> None:
    with pytest.raises(InputError, match=r"`val_labels` holds .*; got <U3\. Number them by `np\.unique"):
        as_labels(["cat", "dog"], "val_labels")


def test_single_numbers() -> None:
    assert as_number(np.float32(0.5), "null_utility") == 0.5
    assert as_whole(np.int64(3), "n_players") == 3
    with pytest.raises(InputError, match=r"`null_utility` is a number; got \[1, 2\]"):
        as_number([1, 2], "null_utility")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"`n_players` is a whole number; got 3.0"):
        as_whole(3.0, "n_players")  # type: ignore[arg-type]
