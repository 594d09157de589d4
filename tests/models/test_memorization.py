"""Memorization: p-values that are right about images that are no copies, and small for copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from royalty.models.base.errors import InputError
from royalty.models.judging.memorization import memorization_test, pixels_of, views_of


def images(seed: int, *counts: int) -> list[np.ndarray]:
    """Features of images of one source, in clusters of unequal spread."""
    generator = np.random.default_rng(seed)
    centres, spread = 3 * generator.normal(size=(5, 8)), generator.uniform(0.2, 2, 5)
    found = []
    for count in counts:
        cluster = generator.integers(5, size=count)
        found.append(centres[cluster] + spread[cluster, None] * generator.normal(size=(count, 8)))
    return found


@pytest.mark.parametrize("held_out", [True, False])
def test_p_values_of_images_that_are_no_copies_are_uniform(held_out: bool) -> None:
    """At levels of 1, 5 and 50%, over 20 sets of 100 images: within what a binomial of these allows once in 10,000."""
    found = []
    for seed in range(20):
        train, generated, unseen = images(seed, 400, 100, 400)
        found.append(memorization_test([train], [generated], [unseen] if held_out else None, neighbours=10).p_values)
    p_values = np.concatenate(found)
    for level in (0.01, 0.05, 0.5):
        # Those of one set share their held-out images, so the spread is wider than binomial: half as many count.
        most = 2 * binom.ppf(0.9999, len(p_values) // 2, level)
        least = 2 * binom.ppf(0.0001, len(p_values) // 2, level)
        assert least <= (p_values <= level).sum() <= most, level


def test_copies_are_flagged_and_their_originals_are_named() -> None:
    train, generated, unseen = images(1, 400, 100, 1000)
    rows = np.arange(0, 300, 30)
    generated[:10] = train[rows] + 0.001 * np.random.default_rng(0).normal(size=(10, 8))
    found = memorization_test([train], [generated], [unseen], rate=0.1)
    assert found.flagged[:10].all()
    assert found.flagged[10:].sum() <= 4
    np.testing.assert_array_equal(found.nearest[:10], rows)
    assert (found.p_values[:10] == found.smallest).all()
    assert found.smallest == 1 / 1001
    assert (found.closeness[:10] < 0.05).all()
    assert memorization_test([train], [train[:5]], [unseen]).closeness.max() < 1e-3


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), neighbours=st.integers(1, 60))
def test_the_p_value_is_the_conformal_one(seed: int, neighbours: int) -> None:
    train, generated, unseen = images(seed, 40, 12, 30)
    found = memorization_test([train], [generated], [unseen], neighbours=neighbours)

    def closeness(point: np.ndarray) -> float:
        units = train / np.linalg.norm(train, axis=1, keepdims=True)
        apart = np.sort(np.linalg.norm(units - point / np.linalg.norm(point), axis=1))
        return float(apart[0] / apart[1 : 1 + min(neighbours, 38)].mean())

    null = np.array([closeness(point) for point in unseen])
    expected = np.array([closeness(point) for point in generated])
    np.testing.assert_allclose(found.closeness, expected, atol=1e-5)
    as_close = (null[None] <= expected[:, None] + 1e-9).sum(axis=1)
    np.testing.assert_allclose(found.p_values, (1 + as_close) / 31, atol=1 / 31 + 1e-9)
    assert (found.p_values == (1 + as_close) / 31).mean() > 0.8


def test_what_cannot_be_tested_is_refused() -> None:
    train, generated, unseen = images(0, 10, 4, 5)
    with pytest.raises(InputError, match="three training items or more; got 2"):
        memorization_test([train[:2]], [generated])
    with pytest.raises(InputError, match="not trained on, and there are none"):
        memorization_test([train], [generated], [unseen[:0]])
    with pytest.raises(InputError, match="between 0 and 1; got 1"):
        memorization_test([train], [generated], [unseen], rate=1)
    with pytest.raises(InputError, match="at least one more neighbour; got 0"):
        memorization_test([train], [generated], [unseen], neighbours=0)
    with pytest.raises(InputError, match=r"the same features; got \[1, 2\] kinds"):
        memorization_test([train, train], [generated], [unseen, unseen])


def test_a_copy_in_one_view_alone_is_found_and_p_values_stay_right() -> None:
    """Views that know nothing of each other: copies in either are flagged, and others are as uniform as with one."""
    found, rows = [], np.arange(5)
    for seed in range(20):
        first, second = images(2 * seed, 400, 100, 1000), images(2 * seed + 1, 400, 100, 1000)
        first[1][rows], second[1][rows + 5] = first[0][rows + 40] * 1.001, second[0][rows + 50] * 1.001
        train, generated, unseen = ([one, other] for one, other in zip(first, second, strict=True))
        both = memorization_test(train, generated, unseen, rate=0.1)
        assert both.flagged[:10].all()
        np.testing.assert_array_equal(both.view[:10], [0] * 5 + [1] * 5)
        np.testing.assert_array_equal(both.nearest[:10], [*(rows + 40), *(rows + 50)])
        found.append(both.p_values[10:])
    p_values = np.concatenate(found)
    for level in (0.05, 0.5):
        assert abs((p_values <= level).mean() - level) < 4 * (2 * level * (1 - level) / len(p_values)) ** 0.5


def test_pixels_are_means_over_squares_relative_to_the_training_items() -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (4, 3, 40, 40), dtype=np.uint8)
    pooled = pixels_of(drawn)
    assert pooled.shape == (4, 3 * 20 * 20)
    np.testing.assert_allclose(pooled[2].reshape(3, 20, 20)[1, 3, 5], drawn[2, 1, 6:8, 10:12].mean() / 255, rtol=1e-6)
    small = drawn[:, :1, :28, :28]
    np.testing.assert_allclose(pixels_of(small), small.reshape(4, -1) / 255, rtol=1e-6)
    features = np.random.default_rng(1).normal(size=(9, 5))
    many = np.repeat(drawn, 3, axis=0)[:9]
    train, made, unseen = views_of((features, many), (features[:2], many[:2]), (features[2:5], many[2:5]))
    assert [len(side[0]) for side in (train, made, unseen)] == [9, 2, 3]
    for view in range(2):
        np.testing.assert_allclose(train[view].mean(axis=0), 0, atol=1e-6)
        np.testing.assert_array_equal(made[view], train[view][:2])
        np.testing.assert_array_equal(unseen[view], train[view][2:5])
