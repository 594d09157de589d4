"""Realism and local density: definitions and what must not change them; and what realism refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from royalty.models.base.errors import InputError
from royalty.models.quality import realism
from royalty.models.quality.local_density import density_scores
from royalty.models.quality.realism import MAX_SCORE, quality_of, realism_scores

Scores = Callable[..., np.ndarray]


def by_definition(train: np.ndarray, generated: np.ndarray, k: int) -> np.ndarray:
    between = np.linalg.norm(train[:, None] - train[None], axis=2)
    np.fill_diagonal(between, np.inf)
    radii = np.sort(between, axis=1)[:, k - 1]
    kept = radii <= np.median(radii)
    apart = np.linalg.norm(generated[:, None] - train[None, kept], axis=2)
    return (radii[kept] / apart).max(axis=1)


def density_by_definition(train: np.ndarray, generated: np.ndarray, k: int) -> np.ndarray:
    between = np.linalg.norm(train[:, None] - train[None], axis=2)
    np.fill_diagonal(between, np.inf)
    own = np.sort(between, axis=1)[:, :k].mean(axis=1)
    apart = np.linalg.norm(generated[:, None] - train[None], axis=2)
    nearest = apart.argsort(axis=1)[:, :k]
    mean = np.take_along_axis(apart, nearest, axis=1).mean(axis=1)
    return np.minimum(own[nearest].mean(axis=1) / mean, 1)


@pytest.mark.parametrize(
    ("scores", "definition"), [(realism_scores, by_definition), (density_scores, density_by_definition)]
)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), items=st.integers(5, 60), dimensions=st.integers(1, 20), k=st.integers(1, 4))
def test_equals_the_definition(
    scores: Scores, definition: Scores, seed: int, items: int, dimensions: int, k: int
) -> None:
    generator = np.random.default_rng(seed)
    train, generated = generator.normal(size=(items, dimensions)), 2 * generator.normal(size=(30, dimensions))
    np.testing.assert_allclose(scores(train, generated, k=k), definition(train, generated, k), rtol=1e-3)


@pytest.mark.parametrize("tile", [1, 7])
def test_tiles_change_nothing(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    train, generated = generator.normal(size=(50, 6)), generator.normal(size=(20, 6))
    whole = realism_scores(train, generated)
    monkeypatch.setattr(realism, "TILE", tile)
    np.testing.assert_allclose(realism_scores(train, generated), whole, rtol=1e-5)


@pytest.mark.parametrize("scores", [realism_scores, density_scores])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-6, 1e6), shift=st.floats(-10, 10))
def test_motion_scale_and_order_change_nothing(scores: Scores, seed: int, scale: float, shift: float) -> None:
    generator = np.random.default_rng(seed)
    train, generated = generator.normal(size=(40, 5)), generator.normal(size=(20, 5))
    turn = ortho_group.rvs(5, random_state=seed)
    moved = [scale * (points @ turn + shift) for points in (train[generator.permutation(40)], generated)]
    np.testing.assert_allclose(scores(*moved), scores(train, generated), rtol=2e-3)


def test_inside_near_and_far() -> None:
    line = np.arange(11.0)[:, None]  # the median radius to the second nearest is 1, and ends have 2
    points = np.array([[5.5], [8.0], [12.0], [110.0]])
    scores = realism_scores(line, points, k=2)
    np.testing.assert_allclose(scores, [2, MAX_SCORE, 1 / 3, 1 / 101], rtol=1e-4)
    np.testing.assert_allclose(quality_of(scores), [1, 1, 1 / 3, 1 / 101], rtol=1e-4)


def test_copies_are_capped() -> None:
    train = np.random.default_rng(0).normal(size=(40, 64))
    counted = by_definition(train, train + 1e-9, 3) > 1e3
    scores = realism_scores(train, train)
    assert (scores[counted] == MAX_SCORE).all()
    assert counted.sum() == 20
    assert (scores[~counted] < 10).all()
    copies = np.tile(train[:10], (5, 1))  # all radii are zero
    assert (realism_scores(copies, copies[:10]) == MAX_SCORE).all()
    assert (realism_scores(copies, train[20:]) < 1e-3).all()


def test_bad_input_is_refused() -> None:
    generator = np.random.default_rng(0)
    train, generated = generator.normal(size=(10, 3)), generator.normal(size=(4, 3))
    for k in (0, 10):
        with pytest.raises(InputError, match=f"other training images, 9; got {k}"):
            realism_scores(train, generated, k=k)
    with pytest.raises(InputError, match=r"training and generated items are compared .* by dimension; got 3 and 2"):
        realism_scores(train, generated[:, :2])
    with pytest.raises(InputError, match=r"generated features have shape \(0, 3\)"):
        realism_scores(train, generated[:0])
    generated[2, 1] = np.inf
    with pytest.raises(InputError, match="generated row 2 has inf in dimension 1"):
        realism_scores(train, generated)
