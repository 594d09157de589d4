"""Pairs within a distance: all that comparing every pair finds, whatever the cells are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import KDTree

from royalty.models.data import within
from royalty.models.data.within import pairs_within


def found(points: np.ndarray, reach: float) -> set[tuple[int, int]]:
    pairs = [
        (min(pair), max(pair))
        for left, right in pairs_within(points, reach)
        for pair in zip(left.tolist(), right.tolist(), strict=True)
    ]
    assert len(pairs) <= 2 * len(set(pairs)), "a pair comes at most twice"
    return set(pairs)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("together", [7, 1 << 15])
def test_all_pairs_and_no_others(seed: int, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(within, "ITEMS", together)
    monkeypatch.setattr(within, "PAIRS", together)
    monkeypatch.setattr(within, "LOOK", 0)  # boundaries wherever they leave fewer pairs
    draw = np.random.default_rng(seed)
    points = draw.normal(size=(600, 4)) * [8, 4, 0.5, 0.2]
    if seed % 2:
        points[300:] = points[:300] + draw.normal(size=(300, 4)) * draw.uniform(0.05, 0.3, (300, 1))
    reach = 0.5
    pairs = KDTree(points).query_pairs(reach)
    assert len(pairs) > 20
    _, borders, _ = within._divided(np.ascontiguousarray(points.T), reach)
    assert len(borders) >= 2
    assert found(points, reach) == pairs


def test_pairs_on_both_sides_of_a_corner_are_found() -> None:
    """Of each pair the two points lie in cells that touch at a corner only."""
    draw = np.random.default_rng(0)
    spread = draw.uniform(-100, 100, (4000, 2))
    _, borders, _ = within._divided(np.ascontiguousarray(spread.T), 1.0)
    assert len(borders) == 2
    bounds = [within._bounds(values, within.WIDE) for values in spread.T]
    corners = np.array([(x, y) for x in bounds[0] for y in bounds[1]])
    angles = draw.uniform(0, 2 * np.pi, len(corners))
    apart = 0.49 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = np.concatenate([spread, corners + apart, corners - apart])
    places = np.arange(len(corners)) + len(spread)
    assert {(one, one + len(corners)) for one in places.tolist()} <= found(points, 1.0)


@pytest.mark.parametrize("points", [np.zeros((50, 3)), np.zeros((1, 3)), np.zeros((0, 3)), np.eye(3)])
def test_points_that_are_one_or_few(points: np.ndarray) -> None:
    assert found(points, 0.1) == KDTree(points).query_pairs(0.1)
