"""Games with known answers, laws that hold for every game, and refusals."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.valuation.shapley import ShapleyEstimate, estimate_shapley, sample_coalitions


def exact(utility, players: int) -> np.ndarray:
    """Shapley values by the definition, over all coalitions."""
    values = np.zeros(players)
    for player in range(players):
        others = [other for other in range(players) if other != player]
        for size in range(players):
            weight = factorial(size) * factorial(players - size - 1) / factorial(players)
            for members in combinations(others, size):
                mask = np.zeros(players, bool)
                mask[list(members)] = True
                without = utility(mask)
                mask[player] = True
                values[player] += weight * (utility(mask) - without)
    return values


def estimate(utility, players: int, coalitions: int, *, seed: int = 0, **options) -> ShapleyEstimate:
    masks = sample_coalitions(players, coalitions, seed=seed)
    utilities = np.array([utility(mask) for mask in masks])
    nobody, everybody = np.zeros(players, bool), np.ones(players, bool)
    return estimate_shapley(masks, utilities, utility(nobody), utility(everybody), **options)


@pytest.mark.parametrize("players", [2, 3, 8, 30])
def test_additive_game_with_a_jump_from_nobody_is_exact(players: int) -> None:
    worth = np.random.default_rng(players).normal(size=players)

    def utility(mask: np.ndarray) -> float:
        return float(worth @ mask + (5.0 if mask.any() else 0.0))

    result = estimate(utility, players, 20 * players)
    np.testing.assert_allclose(result.values, worth + 5 / players, atol=1e-9)
    if players >= 8:  # with fewer, some resamples of the pairs miss a contributor
        np.testing.assert_allclose(result.stderr, 0, atol=1e-7)


def test_interacting_game_is_approached_and_covered() -> None:
    generator = np.random.default_rng(1)
    worth, pairs = generator.normal(size=6), np.triu(generator.normal(size=(6, 6)), 1)

    def utility(mask: np.ndarray) -> float:
        return float(worth @ mask + mask @ pairs @ mask)

    truth = exact(utility, 6)
    np.testing.assert_allclose(truth, worth + (pairs + pairs.T).sum(axis=0) / 2)
    result = estimate(utility, 6, 2000)
    np.testing.assert_allclose(result.values, truth, atol=0.1)
    assert (np.abs(result.values - truth) < 4 * result.stderr + 1e-9).all()


def test_three_way_interaction_is_approached() -> None:
    def utility(mask: np.ndarray) -> float:
        return float(mask[:3].all()) + 0.5 * float(mask[2:].any())

    np.testing.assert_allclose(estimate(utility, 5, 4000).values, exact(utility, 5), atol=0.03)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    worth, held = np.linspace(-1, 1, 8), []
    for trial in range(100):
        noise = np.random.default_rng(trial)
        result = estimate(
            lambda mask, noise=noise: float(worth @ mask + 0.2 * noise.normal() * (0 < mask.sum() < 8)),
            8,
            48,
            seed=trial,
            n_bootstrap=200,
        )
        held.append((result.ci_low <= worth) & (worth <= result.ci_high))
    assert 0.92 <= np.mean(held) <= 0.99


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), players=st.integers(2, 7), shift=st.floats(-5, 5), scale=st.floats(0.1, 10))
def test_laws(seed: int, players: int, shift: float, scale: float) -> None:
    """Efficiency; a shift of all utilities changes nothing; scaling scales; renaming players renames credit."""
    generator = np.random.default_rng(seed)
    masks = sample_coalitions(players, 8 * players, seed=seed)
    utilities, null, grand = generator.normal(size=len(masks)), float(generator.normal()), float(generator.normal())
    options = {"n_bootstrap": 2, "ridge": 0.01}
    result = estimate_shapley(masks, utilities, null, grand, **options)
    assert result.diagnostics["efficiency_gap"] < 1e-9
    assert result.values.sum() == pytest.approx(grand - null, abs=1e-9)
    shifted = estimate_shapley(masks, utilities + shift, null + shift, grand + shift, **options)
    np.testing.assert_allclose(shifted.values, result.values, atol=1e-8)
    scaled = estimate_shapley(masks, utilities * scale, null * scale, grand * scale, **options)
    np.testing.assert_allclose(scaled.values, result.values * scale, atol=1e-7)
    order = generator.permutation(players)
    renamed = estimate_shapley(masks[:, order], utilities, null, grand, **options)
    np.testing.assert_allclose(renamed.values, result.values[order], atol=1e-8)


def test_coalitions_are_complementary_pairs_of_the_kernel_distribution() -> None:
    masks = sample_coalitions(10, 20_000, seed=3)
    sizes = masks.sum(axis=1)
    assert np.array_equal(masks[1::2], ~masks[::2])
    assert sizes.min() >= 1
    assert sizes.max() <= 9
    weights = np.array([1 / (size * (10 - size)) for size in range(1, 10)])
    shares = np.bincount(sizes, minlength=10)[1:] / len(masks)
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.015)
    np.testing.assert_allclose(masks.mean(axis=0), 0.5, atol=0.015)
    assert np.array_equal(masks, sample_coalitions(10, 20_000, seed=3))
    assert not np.array_equal(masks, sample_coalitions(10, 20_000, seed=4))


@pytest.mark.parametrize(("players", "coalitions"), [(1, 4), (5, 7), (12, 20)])
def test_impossible_draws_are_refused(players: int, coalitions: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        sample_coalitions(players, coalitions, seed=0)


def test_bad_utilities_are_refused_by_name() -> None:
    masks = sample_coalitions(4, 8, seed=0)
    with pytest.raises(ValueError, match="got 8 coalitions and 7"):
        estimate_shapley(masks, np.zeros(7), 0, 1)
    with pytest.raises(ValueError, match="coalition 5"):
        estimate_shapley(masks, np.array([0, 0, 0, 0, 0, np.nan, 0, 0]), 0, 1)
    with pytest.raises(ValueError, match="null has inf"):
        estimate_shapley(masks, np.zeros(8), np.inf, 1)
    with pytest.raises(ValueError, match="pairs"):
        estimate_shapley(masks[::2], np.zeros(4), 0, 1)
