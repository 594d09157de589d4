"""Memorization: p-values that are right about images that are no copies, and small for copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from royalty.models.base.errors import InputError
from royalty.models.judging.memorization import memorization_test


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
        found.append(memorization_test(train, generated, unseen if held_out else None, neighbours=10).p_values)
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
    found = memorization_test(train, generated, unseen, rate=0.1)
    assert found.flagged[:10].all()
    assert found.flagged[10:].sum() <= 4
    np.testing.assert_array_equal(found.nearest[:10], rows)
    assert (found.p_values[:10] == found.smallest).all()
    assert found.smallest == 1 / 1001
    assert (found.closeness[:10] < 0.05).all()
    assert memorization_test(train, train[:5], unseen).closeness.max() < 1e-3


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), neighbours=st.integers(1, 60))
def test_the_p_value_is_the_conformal_one(seed: int, neighbours: int) -> None:
    train, generated, unseen = images(seed, 40, 12, 30)
    found = memorization_test(train, generated, unseen, neighbours=neighbours)

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
        memorization_test(train[:2], generated)
    with pytest.raises(InputError, match="not trained on, and there are none"):
        memorization_test(train, generated, unseen[:0])
    with pytest.raises(InputError, match="between 0 and 1; got 1"):
        memorization_test(train, generated, unseen, rate=1)
    with pytest.raises(InputError, match="at least one more neighbour; got 0"):
        memorization_test(train, generated, unseen, neighbours=0)
