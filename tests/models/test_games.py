"""Each game's closed form against the definition of the Shapley value, over all coalitions."""

from __future__ import annotations

from itertools import permutations
from math import factorial

import numpy as np
import pytest

from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.semivalues import exact_shapley
from royalty.models.valuation.shapley import estimate_shapley
from tests.models import games
from tests.models.games import Game


def brute_force(game: Game) -> np.ndarray:
    """phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S)); `(n,)`."""
    players = game.n_players
    codes = np.arange(2**players)
    masks = (codes[:, None] >> np.arange(players) & 1).astype(bool)  # (2^n, n)
    utilities, sizes = game.utility(masks), masks.sum(axis=1)
    weights = [factorial(size) * factorial(players - size - 1) / factorial(players) for size in range(players)]
    values = np.zeros(players)
    for player in range(players):
        without = codes[~masks[:, player]]
        gains = utilities[without | 1 << player] - utilities[without]
        values[player] = np.take(weights, sizes[without]) @ gains
    return values


RANDOM = np.random.default_rng(0)
SMALL = [
    games.additive(RANDOM.normal(size=7)),
    games.airport(RANDOM.exponential(size=8)),
    games.airport(np.array([3.0, 1.0, 1.0, 2.0])),
    games.symmetric_voting(7),
    games.symmetric_voting(8),
    games.weighted_voting([4, 3, 2, 1], quota=6),
    games.weighted_voting([9, 1, 5, 5, 0, 2, 3], quota=13),
    games.weighted_voting([7, 1, 1, 1], quota=5),
    games.gloves(3, 5),
    games.gloves(4, 4),
    games.gloves(6, 1),
    games.jump_from_null(RANDOM.normal(size=8), jump=-3.0, growth=2.0),
    games.saturating(RANDOM.exponential(size=(7, 3)), values=np.array([1.0, -2.0, 0.5])),
    games.saturating(RANDOM.exponential(size=(8, 2)), values=np.array([1.0, 4.0])),
    *[make(8, seed) for make in games.KINDS.values() for seed in range(3)],
]


@pytest.mark.parametrize("game", SMALL, ids=lambda game: game.name)
def test_closed_form_is_the_definition(game: Game) -> None:
    assert game.shapley.shape == (game.n_players,)
    np.testing.assert_allclose(game.shapley, brute_force(game), rtol=0, atol=game.tolerance)


@pytest.mark.parametrize("game", SMALL, ids=lambda game: game.name)
def test_all_coalitions_give_the_closed_form(game: Game) -> None:
    """By the exact sum, and by the estimators, of which each gives the same from all coalitions."""
    np.testing.assert_allclose(exact_shapley(game.utility, game.n_players), game.shapley, rtol=0, atol=1e-10)
    masks = sample_coalitions(game.n_players, 2**game.n_players, seed=0)
    ends = game.utility(np.repeat([[False], [True]], game.n_players, axis=1))
    estimate = estimate_shapley(masks, game.utility(masks), *ends)
    np.testing.assert_allclose(estimate.values, game.shapley, rtol=0, atol=1e-10)


def test_the_definition_is_the_average_over_orders_of_arrival() -> None:
    game = games.random_interacting(5, seed=4)
    values, orders = np.zeros(5), list(permutations(range(5)))
    for order in orders:
        masks = np.zeros((6, 5), dtype=bool)
        for place, player in enumerate(order):
            masks[place + 1 :, player] = True
        values[list(order)] += np.diff(game.utility(masks)) / len(orders)
    np.testing.assert_allclose(brute_force(game), values, atol=1e-12)


@pytest.mark.parametrize(
    "game",
    [
        *[make(258, 1) for make in games.KINDS.values()],
        games.airport(RANDOM.exponential(size=258)),
        games.gloves(120, 138),
        games.weighted_voting(RANDOM.integers(1, 20, size=40).tolist(), quota=200),
    ],
    ids=lambda game: game.name,
)
def test_values_add_up_at_any_number_of_players(game: Game) -> None:
    ends = np.repeat([[False], [True]], game.n_players, axis=1)
    nobody, everybody = game.utility(ends)
    assert game.shapley.sum() == pytest.approx(everybody - nobody, abs=1e-8)


def test_known_power_and_shares() -> None:
    np.testing.assert_allclose(games.weighted_voting([2, 1, 1], quota=3).shapley, [2 / 3, 1 / 6, 1 / 6])
    np.testing.assert_allclose(games.gloves(1, 2).shapley, [2 / 3, 1 / 6, 1 / 6])
    np.testing.assert_allclose(games.airport(np.array([1.0, 2.0, 3.0])).shapley, [1 / 3, 5 / 6, 11 / 6])


@pytest.mark.parametrize("kind", games.KINDS)
def test_random_games_have_spread_near_one(kind: str) -> None:
    spreads = [games.KINDS[kind](60, seed).spread for seed in range(10)]
    assert 0.5 < np.mean(spreads) < 2


def test_noise_is_a_function_of_the_coalition() -> None:
    game, masks = games.random_additive(12, seed=0), np.random.default_rng(1).random((20_000, 12)) < 0.5
    masks = np.unique(masks, axis=0)
    noise = games.noisy(game.utility, 12, 2.0, seed=3)(masks) - game.utility(masks)
    assert abs(noise.mean()) < 5 * 2 / np.sqrt(len(masks))
    assert noise.std() == pytest.approx(2.0, rel=0.05)
    correlations = [np.corrcoef(noise, member)[0, 1] for member in masks.T]
    assert np.abs(correlations).max() < 5 / np.sqrt(len(masks))
    again = games.noisy(game.utility, 12, 2.0, seed=3)(masks[::-1]) - game.utility(masks[::-1])
    np.testing.assert_allclose(again, noise[::-1], atol=1e-12)
    other = games.noisy(game.utility, 12, 2.0, seed=4)(masks) - game.utility(masks)
    assert abs(np.corrcoef(noise, other)[0, 1]) < 0.1


def test_ends_may_be_free_of_noise() -> None:
    game, ends = games.random_additive(5, seed=0), np.repeat([[False], [True]], 5, axis=1)
    free = games.noisy(game.utility, 5, 1.0, seed=0, ends=False)
    np.testing.assert_array_equal(free(ends), game.utility(ends))
    assert (games.noisy(game.utility, 5, 1.0, seed=0)(ends) != game.utility(ends)).all()
