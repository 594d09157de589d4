"""Distances of contributors by attributes, in closed form; and poor images among good ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from royalty.models.base.errors import InputError
from royalty.models.judging.contributors import attribute_distance, contributor_distances
from royalty.models.judging.poor_images import spoil


def test_one_attribute_differs_by_its_fractions() -> None:
    first, second = np.arange(10)[:, None] < 7, np.arange(4)[:, None] < 1
    assert attribute_distance(first, second) == pytest.approx(0.7 - 0.25)
    assert attribute_distance(first, first[::-1]) == 0
    assert attribute_distance(np.repeat(second, 3, axis=0), second) == pytest.approx(0)


def test_combinations_count_and_not_only_each_attribute() -> None:
    equal = np.array([[0, 0], [1, 1]], dtype=bool)
    opposite = np.array([[0, 1], [1, 0]], dtype=bool)
    assert attribute_distance(equal, opposite) == pytest.approx(1)  # each image changes one attribute
    assert attribute_distance(equal[:1], equal[1:]) == pytest.approx(2)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), images=st.integers(1, 12), attributes=st.integers(1, 5))
def test_the_distance_is_that_of_the_best_pairing(seed: int, images: int, attributes: int) -> None:
    generator = np.random.default_rng(seed)
    first, second, third = generator.random((3, images, attributes)) < 0.5
    costs = (first[:, None] != second[None]).sum(axis=2)
    best = costs[linear_sum_assignment(costs)].mean()
    assert attribute_distance(first, second) == pytest.approx(best)
    assert attribute_distance(second, first) == pytest.approx(best)
    assert best <= attribute_distance(first, third) + attribute_distance(third, second) + 1e-9


def test_contributors_are_nearer_than_random_items() -> None:
    hats = np.arange(100)[:, None] < 50
    values = np.where(hats[:, 0], np.arange(100.0, 0, -1), 0)
    values[60] = 0.5  # the least of those that contribute, without a hat
    ten, everybody = contributor_distances(values, hats, np.ones((4, 1), dtype=bool), sizes=(10, 90), draws=400, seed=0)
    assert (ten.contributors, ten.distance) == (10, 0)
    assert ten.random == pytest.approx(0.5, abs=0.03)
    assert ten.deviation == pytest.approx(np.sqrt(0.25 / 10 * 90 / 99), rel=0.1)  # hypergeometric
    assert (everybody.contributors, everybody.distance) == (51, pytest.approx(1 / 51))


def test_bad_attributes_are_refused() -> None:
    good = np.ones((3, 2), dtype=bool)
    for first, second, told in (
        (good.astype(int), good, "the first set has int64"),
        (good, good[:0], r"the second set has bool of shape \(0, 2\)"),
        (good, good[:, :1], "got 2 and 1 of them"),
    ):
        with pytest.raises(InputError, match=told):
            attribute_distance(first, second)
    with pytest.raises(InputError, match="at least one contributes"):
        contributor_distances(np.zeros(3), good, good, seed=0)
    with pytest.raises(InputError, match=r"shape \(2,\) for 3 items"):
        contributor_distances(np.ones(2), good, good, seed=0)


def test_poor_images_are_as_many_as_asked_and_a_larger_share_has_those_of_a_smaller() -> None:
    images = np.full((20, 1, 8, 8), 128, dtype=np.uint8)
    few, some = spoil(images, share=0.1, seed=3)
    more, others = spoil(images, share=0.5, seed=3)
    assert (len(some), len(others)) == (2, 10)
    assert set(some) < set(others)
    np.testing.assert_array_equal(np.flatnonzero((few != images).any(axis=(1, 2, 3))), some)
    np.testing.assert_array_equal(more[some], few[some])
    assert more[others].std() == pytest.approx(64, rel=0.1)  # clipped at 127 of 64: two deviations
    replaced, rows = spoil(images, share=0.5, seed=3, poor=images + 1)
    np.testing.assert_array_equal(rows, others)
    np.testing.assert_array_equal(replaced[rows], 129)
    assert len(spoil(images, share=0.999, seed=3)[1]) == 19
    for bad, of, poor, told in (
        (0.0, images, None, "above 0 and below 1; got 0 of 20"),
        (0.5, images[:1], None, "0.5 of 1 images"),
        (0.5, images, images[:3], r"got \(3, 1, 8, 8\)"),
    ):
        with pytest.raises(InputError, match=told):
            spoil(of, share=bad, seed=0, poor=poor)
