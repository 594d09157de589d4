"""TRAK and its normalizations against the formulas as the paper writes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from royalty.models.valuation.influence import diffusion_attribution, relative_influence, renormalized_influence, trak

Estimator = Callable[..., np.ndarray]
ESTIMATORS = [trak, relative_influence, renormalized_influence]
SHAPES = [(6, 9), (9, 6), (7, 7)]
"""Items and projection: each of the two systems, and where they meet."""


def gradients(items: int, projection: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(items)
    return generator.normal(size=(items, projection)), generator.normal(size=(5, projection))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equals_the_published_formula(estimator: Estimator, shape: tuple[int, int]) -> None:
    """Equations 13, 19 and 21, query by query and item by item, with the inverse written out."""
    train, queries = gradients(*shape)
    eigenvalues = np.linalg.svd(train, compute_uv=False) ** 2
    inverse = np.linalg.inv(train.T @ train + 0.3 * eigenvalues.mean() * np.eye(shape[1]))
    expected = np.zeros(shape[0])
    for item, gradient in enumerate(train):
        divisor = {
            trak: 1.0,
            relative_influence: np.linalg.norm(inverse @ gradient),
            renormalized_influence: np.linalg.norm(gradient),
        }[estimator]
        expected[item] = np.mean([query @ inverse @ gradient / divisor for query in queries])
    np.testing.assert_allclose(estimator(train, queries, damping=0.3), expected)


@pytest.mark.parametrize(("estimator", "factor"), [(trak, 0.8), (relative_influence, 1), (renormalized_influence, 0.8)])
def test_of_orthonormal_gradients(estimator: Estimator, factor: float) -> None:
    """H is 1.25 I, so that a score is the mean query's own entry, divided where the method divides."""
    queries = np.array([[1.0, 2, 3], [3, 0, -9]])
    np.testing.assert_allclose(estimator(np.eye(3), queries, damping=0.25), factor * queries.mean(axis=0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_order_of_items_and_copies_of_queries(estimator: Estimator, shape: tuple[int, int]) -> None:
    train, queries = gradients(*shape)
    scores = estimator(train, queries, damping=0.1)
    order = np.random.default_rng(1).permutation(len(train))
    np.testing.assert_allclose(estimator(train[order], np.tile(queries, (3, 1)), damping=0.1), scores[order])


@pytest.mark.parametrize(("estimator", "power"), [(trak, 0), (relative_influence, 1), (renormalized_influence, -1)])
def test_scale_of_the_loss(estimator: Estimator, power: int) -> None:
    """Damping is relative, so the scale of all gradients moves no score against another."""
    train, queries = gradients(6, 9)
    scores = estimator(train, queries, damping=0.1)
    np.testing.assert_allclose(estimator(1e3 * train, 1e3 * queries, damping=0.1), 1e3**power * scores)
    np.testing.assert_allclose(estimator(train, -2 * queries, damping=0.1), -2 * scores)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_dimensions_that_no_item_uses_change_nothing(estimator: Estimator) -> None:
    train, queries = gradients(6, 9)
    wider = estimator(np.pad(train, ((0, 0), (0, 20))), np.pad(queries, ((0, 0), (0, 20))), damping=0.1)
    np.testing.assert_allclose(wider, estimator(train, queries, damping=0.1))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_item_without_gradient_scores_zero(estimator: Estimator) -> None:
    train, queries = gradients(6, 9)
    train[4] = 0
    scores = estimator(train.astype(np.float32), queries.astype(np.float32), damping=0.1)
    assert scores[4] == 0
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_what_has_no_solution_is_refused(estimator: Estimator) -> None:
    train, queries = gradients(6, 9)
    for damping in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="above 0"):
            estimator(train, queries, damping=damping)
    with pytest.raises(ValueError, match="only zeros"):
        estimator(0 * train, queries, damping=0.1)
    with pytest.raises(ValueError, match="the same number of columns"):
        estimator(train, queries[:, 1:], damping=0.1)


def test_das_is_the_squared_change_of_ridge_regression_without_an_item() -> None:
    """The Newton step is exact for a quadratic loss: refit without each item, with the damping of all items."""
    generator = np.random.default_rng(0)
    for items, dimensions in SHAPES:
        inputs, queries = gradients(items, dimensions)
        outputs = generator.normal(size=items)
        ridge = 0.3 * np.mean(np.linalg.svd(inputs, compute_uv=False) ** 2) * np.eye(dimensions)
        everyone = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ outputs)
        expected = []
        for item in range(items):
            others, wanted = np.delete(inputs, item, axis=0), np.delete(outputs, item)
            without = np.linalg.solve(others.T @ others + ridge, others.T @ wanted)
            expected.append(np.mean((queries @ (everyone - without)) ** 2))
        scores = diffusion_attribution(inputs, queries, outputs - inputs @ everyone, damping=0.3)
        np.testing.assert_allclose(scores, expected, rtol=1e-9)


def test_das_of_copies_of_perfect_items_and_of_bad_errors() -> None:
    train, queries = gradients(6, 9)
    train[3], errors = train[0], np.array([1.0, 2, 0, 1, 3, 4])
    scores = diffusion_attribution(train, queries, errors, damping=0.1)
    assert scores[0] == pytest.approx(scores[3])
    assert scores[2] == 0  # what the model predicts without error taught it nothing
    for wrong in (errors[1:], errors * np.nan):
        with pytest.raises(ValueError, match="one finite number for each of the 6 items"):
            diffusion_attribution(train, queries, wrong, damping=0.1)
