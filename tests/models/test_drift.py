"""How far a set has moved: closed forms on a line, and what must not move it."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.valuation.drift import drift


def cloud(items: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(items, 5))


def test_the_same_set_has_not_moved() -> None:
    items = cloud(40)
    assert drift(items, items).distance == 0
    shuffled = drift(items, items[::-1].copy(), tolerance=1e-5)
    assert shuffled.distance == pytest.approx(0, abs=1e-4)
    assert shuffled.typical > 1


def test_a_set_far_away_is_as_far_as_its_mean() -> None:
    """Where all of one set is to one side of all of the other, every coupling costs the distance of the means."""
    items = np.random.default_rng(0).random((30, 1))
    found = drift(items, items + 50.0, epsilon=0.05, tolerance=1e-4)
    assert found.distance == pytest.approx(50, rel=0.01)
    assert found.share == pytest.approx(1, rel=0.02)


def test_replacing_more_items_moves_farther() -> None:
    items, others = cloud(200), cloud(200, seed=1) + 4
    moved = [drift(items, np.concatenate([others[:count], items[count:]])).share for count in (2, 20, 100)]
    assert 0 < moved[0] < moved[1] < moved[2] < 1


def test_batches_add_little() -> None:
    items, others = cloud(400), cloud(400, seed=1) + 4
    after = np.concatenate([others[:80], items[80:]])
    assert drift(items, after, batch_size=100).share == pytest.approx(drift(items, after).share, abs=0.1)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="dimension by dimension"):
        drift(cloud(10), cloud(10)[:, :3])
    with pytest.raises(InputError, match="has nan"):
        drift(cloud(10), np.full((10, 5), np.nan))
