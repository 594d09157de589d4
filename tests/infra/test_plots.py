"""Plots: what they show where it can be read from the picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from royalty.infra.pages.plots import label_distances, predicted_changes


def brightest(png: bytes) -> tuple[float, float]:
    """Centre of the cells of the largest distance, as fractions of the width and the height of all cells."""
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    cells = np.abs(picture - (68, 1, 84)).sum(axis=2) < 12  # of distance 0
    rows, columns = np.nonzero(cells)
    top, bottom, left = rows.min(), rows.max(), columns.min()
    yellow = np.abs(picture - (253, 231, 36)).sum(axis=2) < 12
    inside = yellow[top : bottom + 1, left : left + (bottom - top) + 1]  # cells are square; the scale stands outside
    y, x = (float(np.mean(places)) for places in np.nonzero(inside))
    return x / (bottom - top), y / (bottom - top)


@pytest.mark.parametrize(("row", "column"), [(0, 3), (3, 0), (1, 2)])
def test_training_labels_are_rows_and_validation_labels_columns(row: int, column: int) -> None:
    distances = np.zeros((4, 4))
    distances[row, column] = 1.0
    x, y = brightest(label_distances("labels", list("abcd"), distances))
    assert (x, y) == (pytest.approx((column + 0.5) / 4, abs=0.04), pytest.approx((row + 0.5) / 4, abs=0.04))


def test_very_many_labels_have_no_names() -> None:
    few, many = (
        Image.open(io.BytesIO(label_distances("labels", [f"label {name}" for name in range(count)], np.eye(count))))
        for count in (20, 200)
    )
    assert max(many.size) <= max(few.size)


def test_changes_of_any_number_of_items_are_drawn() -> None:
    fractions = np.array([-1.0, 0.5])
    items = [np.stack([fractions, -fractions * number, 0.1 - fractions * number]) for number in range(6)]
    assert predicted_changes("changes", items).startswith(b"\x89PNG")
