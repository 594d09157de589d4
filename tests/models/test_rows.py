"""Rows of features that are read when they are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from royalty.models.base import rows
from royalty.models.base.rows import Rows, pieces


@pytest.fixture
def parts() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(50, 3)).astype(np.float32), draw.normal(size=(20, 3)).astype(np.float32)
    return (first, draw.permutation(50)[:30]), (second, np.array([4, 4, 19, 0]))


def test_rows_read_as_the_matrix_that_they_stand_for(
    parts: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = np.concatenate([features[places] for features, places in parts])
    read = Rows(*parts)
    assert (read.shape, len(read), read.dtype) == (copied.shape, len(copied), copied.dtype)
    positions, mask = np.array([33, 2, 2, 0]), np.arange(len(copied)) % 3 == 0
    for index in (slice(None), slice(25, 33), slice(0, 0), positions, mask):
        np.testing.assert_array_equal(read[index], copied[index])

    of_rows = Rows((read, positions))
    np.testing.assert_array_equal(of_rows[:], copied[positions])
    monkeypatch.setattr(rows, "PIECE", 7)
    assert [len(piece) for piece in pieces(read)] == [7, 7, 7, 7, 6]
    np.testing.assert_array_equal(np.concatenate(list(pieces(read))), copied)


def test_types_of_all_parts_are_kept() -> None:
    read = Rows((np.ones((2, 1), np.float32), np.arange(2)), (np.full((1, 1), 1e300), np.arange(1)))
    assert read.dtype == np.float64
    assert read[:].ravel().tolist() == [1, 1, 1e300]


def test_a_file_is_read_as_far_as_it_is_used(tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", np.arange(12.0).reshape(6, 2))
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    read = Rows((mapped, np.array([5, 1])))
    assert read.parts[0] is mapped
    assert read[:1].tolist() == [[10, 11]]
