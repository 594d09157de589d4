"""Similarities in closed form, and the aggregation from items to contributors."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.valuation.similarity import (
    aggregate,
    embedding_distance,
    feature_similarity,
    gradient_similarity,
    pixel_similarity,
)

SCORES = np.array([1.0, 4.0, -2.0, 6.0])
SHARED = np.array([[1, 0], [1, 0], [1, 1], [0, 1]], dtype=bool)
"""The third item has both contributors."""


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_pixels_of_black_white_and_half_images() -> None:
    black, white = np.zeros((1, 2, 2), np.uint8), np.full((1, 2, 2), 255, np.uint8)
    half = np.array([[[0, 255], [0, 255]]], np.uint8)
    train = np.stack([black, white, half])
    np.testing.assert_allclose(pixel_similarity(train, black[None]), [1, -1, 0], atol=1e-12)
    np.testing.assert_allclose(pixel_similarity(train, np.stack([black, half])), [0.5, -0.5, 0.5], atol=1e-12)


def test_cosines_are_averaged_over_the_generated(generator: np.random.Generator) -> None:
    train, generated = generator.normal(size=(5, 7)), generator.normal(size=(4, 7))
    cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in generated] for a in train]
    for similarity in (feature_similarity, gradient_similarity):
        np.testing.assert_allclose(similarity(train, generated), np.mean(cosines, axis=1))


def test_length_says_nothing_and_order_is_kept(generator: np.random.Generator) -> None:
    train, generated = generator.normal(size=(5, 3)), generator.normal(size=(4, 3))
    train[2] = 0
    scores = feature_similarity(train, generated)
    assert scores[2] == 0
    scaled = train * generator.uniform(0.1, 9, size=(5, 1))
    np.testing.assert_allclose(feature_similarity(scaled, generated * 3), scores)
    order = generator.permutation(5)
    np.testing.assert_allclose(feature_similarity(train[order], generated[::-1]), scores[order])


def test_far_from_the_clusters_is_more_valuable() -> None:
    reference = np.array([[-1.0, 0], [6, 7], [1, 0], [6, 9]])
    train = np.array([[0.0, 0], [6, 8], [3, 4], [-6, -8]])
    cluster = np.array([0, 1, 0, 1])  # means (0, 0) and (6, 8), 10 apart
    distances = embedding_distance(train, reference, cluster)
    np.testing.assert_allclose(distances, [5, 5, 5, 15])
    np.testing.assert_allclose(embedding_distance(train, reference, 7 - cluster), distances)
    one = embedding_distance(train, reference, np.zeros(4))
    np.testing.assert_allclose(one, [5, 5, 0, np.hypot(9, 12)])


def test_each_contributor_counts_a_shared_item_but_the_sum_divides_it() -> None:
    np.testing.assert_allclose(aggregate(SCORES, SHARED, "average"), [1, 2])
    np.testing.assert_allclose(aggregate(SCORES, SHARED, "maximum"), [4, 6])
    np.testing.assert_allclose(aggregate(SCORES, SHARED, "sum"), [4, 5])
    np.testing.assert_allclose(aggregate(SCORES - 10, SHARED, "maximum"), [-6, -4])


def test_the_sum_keeps_the_total_whoever_owns_what(generator: np.random.Generator) -> None:
    membership = generator.random((50, 6)) < 0.3
    membership[np.arange(50), generator.integers(6, size=50)] = True
    scores = generator.normal(size=50)
    totals = aggregate(scores, membership, "sum")
    assert totals.sum() == pytest.approx(scores.sum())
    order = generator.permutation(50)
    np.testing.assert_allclose(aggregate(scores[order], membership[order], "sum"), totals)


def test_what_cannot_be_compared_is_refused(generator: np.random.Generator) -> None:
    train = generator.normal(size=(3, 4))
    for other in (train[:, :3], train[:0], train[0]):
        with pytest.raises(ValueError, match="the same number of columns"):
            feature_similarity(train, other)
    with pytest.raises(ValueError, match="finite"):
        feature_similarity(train, np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match="one label for each"):
        embedding_distance(train, train, np.zeros(2))
    with pytest.raises(ValueError, match="one row for each score"):
        aggregate(SCORES[:3], SHARED, "sum")
    with pytest.raises(ValueError, match="got 1 contributors without items and 0 items"):
        aggregate(SCORES, SHARED & [True, False] | [[True, False]], "average")
    with pytest.raises(ValueError, match="'median'"):
        aggregate(SCORES, SHARED, "median")  # type: ignore[arg-type]
