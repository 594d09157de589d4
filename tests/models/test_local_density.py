"""Quality by local density: the definition, what must not change it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from royalty.models.base.errors import InputError
from royalty.models.quality.by_features import BY_FEATURES
from royalty.models.quality.local_density import density_scores
from royalty.tasks.config.matching import GrandMatching


def by_definition(train: np.ndarray, generated: np.ndarray, k: int) -> np.ndarray:
    between = np.linalg.norm(train[:, None] - train[None], axis=2)
    np.fill_diagonal(between, np.inf)
    own = np.sort(between, axis=1)[:, :k].mean(axis=1)
    apart = np.linalg.norm(generated[:, None] - train[None], axis=2)
    nearest = apart.argsort(axis=1)[:, :k]
    mean = np.take_along_axis(apart, nearest, axis=1).mean(axis=1)
    return np.minimum(own[nearest].mean(axis=1) / mean, 1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), items=st.integers(5, 60), dimensions=st.integers(1, 20), k=st.integers(1, 4))
def test_equals_the_definition(seed: int, items: int, dimensions: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    train, generated = generator.normal(size=(items, dimensions)), 2 * generator.normal(size=(30, dimensions))
    np.testing.assert_allclose(density_scores(train, generated, k=k), by_definition(train, generated, k), rtol=1e-3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-6, 1e6), shift=st.floats(-10, 10))
def test_motion_scale_and_order_change_nothing(seed: int, scale: float, shift: float) -> None:
    generator = np.random.default_rng(seed)
    train, generated = generator.normal(size=(40, 5)), generator.normal(size=(20, 5))
    turn = ortho_group.rvs(5, random_state=seed)
    moved = [scale * (points @ turn + shift) for points in (train[generator.permutation(40)], generated)]
    np.testing.assert_allclose(density_scores(*moved), density_scores(train, generated), rtol=2e-3)


def test_near_far_copies_and_one_image_in_the_open() -> None:
    line = np.arange(11.0)[:, None]
    points = np.array([[5.5], [8.0], [110.0]])
    scores = density_scores(line, points, k=2)
    np.testing.assert_allclose(scores, [1, 1, 1.25 / 100.5], rtol=1e-4)
    # A training image far from all others makes an image beside it look no better than that.
    open_field = np.concatenate([line, [[500.0]]])
    assert density_scores(open_field, np.array([[900.0]]), k=3)[0] < 0.5
    assert (density_scores(np.zeros((9, 2)), np.zeros((3, 2))) == 1).all()


def test_few_images_have_fewer_neighbours_and_a_name_of_the_configuration() -> None:
    for items in (2, 3, 9):
        train = np.arange(float(items))[:, None]
        assert BY_FEATURES["density"](train)(train[:1]).tolist() == [1.0]
    for name in BY_FEATURES:
        assert GrandMatching(quality=name).quality == name
    with pytest.raises(InputError, match="`k` is from 1 to the number of other training images, 3; got 4"):
        density_scores(np.zeros((4, 2)), np.zeros((1, 2)), k=4)
