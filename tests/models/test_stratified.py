"""Credit where small coalitions differ more than large ones."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.valuation import stratified
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.semivalues import exact_shapley
from royalty.models.valuation.shapley import ShapleyEstimate, estimate_shapley

PLAYERS = 10


def game(seed: int):
    """One contributor alone is nearly as good as everybody, unless it is one of those who are not."""
    quality = np.random.default_rng(seed).gamma(1.0, 1.2, PLAYERS) + 0.05
    return lambda masks: 9 * (1 - np.exp(-(np.asarray(masks) @ quality)))


def measured(seed: int, sizes: str, estimator: str, count: int = 60) -> tuple[ShapleyEstimate, np.ndarray]:
    rng, utility = np.random.default_rng(100 + seed), game(seed)
    masks = sample_coalitions(PLAYERS, count, seed=seed, sizes=sizes)
    null, grand = utility(np.zeros(PLAYERS)), utility(np.ones(PLAYERS)) + rng.normal(0, 0.3)
    utilities = utility(masks) + rng.normal(0, 0.3, count)
    return estimate_shapley(masks, utilities, null, grand, estimator=estimator), exact_shapley(utility, PLAYERS)


def test_credit_is_surer_where_small_coalitions_differ_most() -> None:
    errors: dict[tuple[str, str], list[float]] = {}
    held: list[bool] = []
    for seed in range(12):
        for sizes, estimator in (("leverage", "mixed"), ("border", "mixed"), ("border", "auto")):
            estimate, truth = measured(seed, sizes, estimator)
            errors.setdefault((sizes, estimator), []).append(np.sqrt(((estimate.values - truth) ** 2).mean()))
            if estimator == "auto":
                held += list((estimate.ci_low <= truth) & (truth <= estimate.ci_high))
    usual, border, both = (np.mean(each) for each in errors.values())
    assert both < 0.75 * border < 0.75 * usual
    assert np.mean(held) > 0.9


def test_auto_takes_it_where_it_predicts_better_and_not_elsewhere() -> None:
    chosen = [measured(seed, "border", "auto")[0].diagnostics["estimator"] for seed in range(6)]
    assert chosen.count("stratified") >= 5
    masks, elsewhere = sample_coalitions(PLAYERS, 60, seed=0), []
    for seed in range(6):
        worth, noise = np.random.default_rng(seed).normal(size=(2, 60))
        additive = masks @ worth[:PLAYERS] + noise
        elsewhere.append(estimate_shapley(masks, additive, 0, worth[:PLAYERS].sum()).diagnostics["estimator"])
    assert elsewhere.count("mixed") >= 4


def test_the_order_of_contributors_and_coalitions_and_the_unit_do_not_matter() -> None:
    rng, utility = np.random.default_rng(0), game(0)
    masks = sample_coalitions(PLAYERS, 40, seed=0)[:37]  # three without a complement
    utilities = utility(masks) + rng.normal(0, 0.3, 37)
    plain = estimate_shapley(masks, utilities, 0, 9, estimator="stratified")
    order, rows = rng.permutation(PLAYERS), rng.permutation(37)
    moved = estimate_shapley(masks[rows][:, order], 3 * utilities[rows] + 5, 5, 3 * 9 + 5, estimator="stratified")
    np.testing.assert_allclose(moved.values, 3 * plain.values[order], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(moved.stderr, 3 * plain.stderr[order], rtol=2e-2)
    assert plain.values.sum() == pytest.approx(9)


def test_the_gradient_is_that_of_the_loss() -> None:
    masks = sample_coalitions(9, 40, seed=1)[:37]
    data = stratified._data(masks, masks @ np.random.default_rng(0).random(9))
    scales = np.array([-1.2, 0.3, -0.4, -1, 0.2, -0.3, 0.7, 0.4, -1.1])
    steps = np.eye(9) * 1e-5
    by_differences = [
        (stratified._loss(scales + s, data)[0] - stratified._loss(scales - s, data)[0]) / 2e-5 for s in steps
    ]
    np.testing.assert_allclose(stratified._loss(scales, data)[1], by_differences, rtol=1e-4)


def test_utilities_that_are_all_equal_have_equal_credit() -> None:
    masks = sample_coalitions(PLAYERS, 40, seed=0)
    estimate = estimate_shapley(masks, np.full(40, 4.0), 0, 4, estimator="stratified")
    np.testing.assert_allclose(estimate.values, 0.4, atol=1e-6)
