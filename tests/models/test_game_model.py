"""The fitted game: credit, substitutes and complements, and predictions, against games with known answers."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import royalty
from royalty.models.base.errors import InputError
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.covariances import Rows, Space
from royalty.models.valuation.game import Game, fit_game
from royalty.models.valuation.orders import mean_by_size, sums_of, sums_without, sums_without_two
from royalty.models.valuation.pairs import widening
from tests.models import games
from tests.models.games import KINDS, noisy


def every(players: int) -> np.ndarray:
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


def exact_pairs(utility: Callable[[np.ndarray], np.ndarray], players: int) -> np.ndarray:
    """The mean of v(S+i+j) - v(S+i) - v(S+j) + v(S), over S of one size and then over the sizes 1..n - 3."""
    masks = every(players)
    values, sizes = utility(masks), masks.sum(axis=1)
    pairs = np.zeros((players, players))
    for i in range(players):
        for j in range(i):
            codes = np.flatnonzero(~masks[:, i] & ~masks[:, j])
            one, other = 1 << i, 1 << j
            change = values[codes | one | other] - values[codes | one] - values[codes | other] + values[codes]
            by_size = [change[sizes[codes] == size].mean() for size in range(1, players - 2)]
            pairs[i, j] = pairs[j, i] = np.mean(by_size)
    return pairs


def fit(game: games.Game, coalitions: int, noise: float = 0.0, seed: int = 0, *, paired: bool = True) -> Game:
    utility = noisy(game.utility, game.n_players, noise * game.spread, 1000 + seed)
    masks = sample_coalitions(game.n_players, coalitions, seed=2000 + seed, paired=paired)
    null, grand = utility(np.repeat([[False], [True]], game.n_players, axis=1))
    return fit_game(masks, utility(masks), float(null), float(grand))


def test_symmetric_sums_are_sums_over_sets() -> None:
    values = np.random.default_rng(0).normal(size=(3, 5))
    sums = sums_of(values, 3)
    triples = [(i, j, k) for i in range(5) for j in range(i) for k in range(j)]
    np.testing.assert_allclose(sums[3], sum(values[:, list(triple)].prod(axis=1) for triple in triples))
    rest = sums_without(values, sums, 2)
    np.testing.assert_allclose(rest[:, 1], sums_of(np.delete(values, 1, axis=1), 2)[2])
    both = sums_without_two(values, 0, 2, sums)
    np.testing.assert_allclose(both[:, 3], sums_of(np.delete(values, [0, 3], axis=1), 2)[2])


@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_mean_of_a_term_over_a_size(order: int) -> None:
    masks = every(6)
    term = (2.0 * masks[:, :order] - 1).prod(axis=1)
    means = [term[masks.sum(axis=1) == size].mean() for size in range(7)]
    np.testing.assert_allclose(mean_by_size(6, order), means, atol=1e-12)


def test_covariances_are_those_of_drawn_games() -> None:
    """Credit and pairs of games drawn from the prior, order by order, against the closed forms."""
    players, generator = 5, np.random.default_rng(0)
    weights = generator.uniform(0.5, 2, size=players)
    space, masks = Space(weights, 2), every(players)
    rows = Rows.of_coalitions(masks)
    signs = 2.0 * masks - 1
    sets = np.array([mask for mask in masks if mask.any()])
    terms = np.array([signs[:, chosen].prod(axis=1) for chosen in sets])  # (sets, coalitions)
    orders = sets.sum(axis=1)
    variances = np.array([space.weights[chosen].prod() for chosen in sets]) / space.norms[orders]
    kernels = list(space.kernels(rows, rows))
    shares = [1 / (players * comb(players - 1, size)) for size in range(players)]
    sizes = masks.sum(axis=1)
    credit = np.zeros((players, len(masks)))  # credit = matrix @ utilities
    for player in range(players):
        without = np.flatnonzero(~masks[:, player])
        credit[player, without | 1 << player] += np.take(shares, sizes[without])
        credit[player, without] -= np.take(shares, sizes[without])
    credit -= credit.mean(axis=0)
    identity = np.eye(len(masks))
    pair = np.array([exact_pairs(lambda _, row=row: row, players)[1] for row in identity]).T  # with contributor 1
    shapley = space.credits(np.full(players, 1 / players), rows)
    pairs = space.pairs(1, rows)
    for order in range(1, players + 1):
        chosen = orders == order
        covariance = (terms[chosen].T * variances[chosen]) @ terms[chosen]
        np.testing.assert_allclose(kernels[order - 1], covariance, atol=1e-12)
        for matrix, functional in ((credit, shapley), (pair, pairs)):
            others = np.arange(players) != 1 if matrix is pair else np.full(players, True)
            joint = functional.covariance.get(order - 1, np.zeros((players, len(masks))))
            np.testing.assert_allclose(joint[others], (matrix @ covariance)[others], atol=1e-10)
            prior = functional.prior.get(order - 1, np.zeros(players))
            np.testing.assert_allclose(prior[others], np.diag(matrix @ covariance @ matrix.T)[others], atol=1e-10)
    for component in range(space.highest, len(kernels)):
        proper = (sizes > 0) & (sizes < players)  # the ends have utilities of their own
        for matrix, functional in ((credit * proper, shapley), (pair, pairs)):
            others = np.arange(players) != 1 if matrix is pair else np.full(players, True)
            expected = matrix @ kernels[component]
            joint = functional.covariance.get(component, np.zeros_like(expected))
            if matrix is not pair:
                expected -= expected.mean(axis=0)
            np.testing.assert_allclose(joint[others], expected[others], atol=1e-10)
            prior = functional.prior.get(component, np.zeros(players))
            if matrix is pair:
                variance = np.diag(matrix @ kernels[component] @ matrix.T)
                np.testing.assert_allclose(prior[others], variance[others], atol=1e-12)


@pytest.mark.parametrize("paired", [True, False])
def test_a_game_of_pairs_without_noise_is_found(paired: bool) -> None:
    generator = np.random.default_rng(1)
    worth, pairs = generator.normal(size=8), np.triu(generator.normal(size=(8, 8)), 1)

    def utility(masks: np.ndarray) -> np.ndarray:
        jump = 5.0 * masks.any(axis=1)
        total: np.ndarray = jump + masks @ worth + np.einsum("mi,ij,mj->m", masks, pairs, masks.astype(float))
        return total

    masks = sample_coalitions(8, 150, seed=0, paired=paired)
    ends = utility(np.repeat([[False], [True]], 8, axis=1))
    game = fit_game(masks.tolist(), utility(masks).tolist(), *ends)
    both = pairs + pairs.T
    np.testing.assert_allclose(game.interactions, both, atol=0.02)
    np.testing.assert_allclose(game.shapley.values, worth + both.sum(axis=1) / 2 + 5 / 8, atol=0.02)
    unseen = sample_coalitions(8, 200, seed=9)
    np.testing.assert_allclose(game.predict(unseen.astype(int)).values, utility(unseen), atol=0.05)
    assert not game.unresolved.any()


def test_ends_are_predicted_as_given_and_credit_is_efficient() -> None:
    game = fit(KINDS["jump from null"](8, 0), 60, noise=0.3)
    predicted = game.predict(np.repeat([[False], [True]], 8, axis=1))
    assert predicted.values[1] - predicted.values[0] == pytest.approx(game.shapley.values.sum(), abs=1e-9)
    np.testing.assert_array_equal(predicted.stderr, 0)


@pytest.mark.parametrize(
    ("kind", "noise"),
    [
        ("interacting", 0.3),
        *(pytest.param("saturating", noise, marks=pytest.mark.statistical) for noise in (0.3, 0.05)),
    ],
)
def test_intervals_of_pairs_and_predictions_hold_the_truth(kind: str, noise: float) -> None:
    pairs, utilities, upper = [], [], np.triu_indices(8, 1)
    for seed in range(12):
        game = KINDS[kind](8, seed)
        found = fit(game, 80, noise, seed)
        truth = exact_pairs(game.utility, 8)
        pairs.append(((found.interactions_low <= truth) & (truth <= found.interactions_high))[upper])
        masks = every(8)[1:-1]
        predicted, actual = found.predict(masks), game.utility(masks)
        utilities.append((predicted.ci_low <= actual) & (actual <= predicted.ci_high))
    assert 0.9 <= np.mean(pairs) <= 0.995
    assert 0.9 <= np.mean(utilities) <= 0.995


def test_predictions_rank_left_out_coalitions_better_than_credit() -> None:
    """Substitutes make the sum of credits a poor predictor."""
    additive, model = [], []
    for seed in range(5):
        game = KINDS["saturating"](12, seed)
        found = fit(game, 120, 0.2, seed)
        masks = np.random.default_rng(seed).random((200, 12)).argsort(axis=1) < 4
        truth = game.utility(masks)
        additive.append(np.corrcoef(masks @ found.shapley.values, truth)[0, 1])
        model.append(np.corrcoef(found.predict(masks).values, truth)[0, 1])
    assert 1 - np.mean(model) < 0.5 * (1 - np.mean(additive))


def test_substitutes_are_negative_complements_positive_and_strangers_neither() -> None:
    masks = sample_coalitions(8, 80, seed=0)
    a, b, c, d, *_, g, h = masks.T.astype(float)
    noise = 0.1 * np.random.default_rng(0).normal(size=80)
    game = fit_game(masks, 2 * np.maximum(a, b) + 2 * c * d + g + h + noise, 0.0, 6.0)
    assert game.interactions_high[0, 1] < 0 < game.interactions_low[2, 3]
    assert game.interactions_low[6, 7] < 0 < game.interactions_high[6, 7]
    np.testing.assert_allclose(game.interactions[[0, 2], [1, 3]], [-2, 2], atol=0.4)
    np.testing.assert_array_equal(game.interactions, game.interactions.T)


def test_widened_intervals_cover_effects_of_any_distribution() -> None:
    """A tenth of the effects are large, and the others zero; the normal posterior covers too few of the large ones."""
    generator = np.random.default_rng(0)
    effects = np.where(generator.random(200_000) < 0.1, np.sqrt(10), 0.0) * generator.choice([-1, 1], 200_000)
    for noise in (0.3, 1.0, 2.0):  # standard deviation; that of the effects is 1
        shrinkage = 1 / (1 + noise**2)
        measured = effects + noise * generator.normal(size=len(effects))
        half = 1.96 * np.sqrt(shrinkage) * noise
        held = np.abs(shrinkage * measured - effects) <= half * widening(np.array(1 - shrinkage), 0.95)
        assert held.mean() >= 0.945
    assert widening(np.zeros(1), 0.95) == pytest.approx(1)
    assert (np.diff(widening(np.linspace(0, 1, 20), 0.95)) >= 0).all()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.floats(-5, 5), scale=st.floats(0.1, 10))
def test_laws(seed: int, shift: float, scale: float) -> None:
    """A shift moves predictions alone; scaling scales; renaming renames; the order of coalitions does not matter."""
    generator = np.random.default_rng(seed)
    masks = sample_coalitions(5, 20, seed=seed)
    utilities, null, grand = generator.normal(size=20), float(generator.normal()), float(generator.normal())
    game = fit_game(masks, utilities, null, grand)
    size = np.abs(game.interactions).max() + 0.1
    moved = fit_game(masks, scale * utilities + shift, scale * null + shift, scale * grand + shift)
    np.testing.assert_allclose(moved.interactions / scale, game.interactions, atol=0.02 * size)
    np.testing.assert_allclose(moved.shapley.values / scale, game.shapley.values, atol=0.02)
    predicted = moved.predict(masks).values
    np.testing.assert_allclose((predicted - shift) / scale, game.predict(masks).values, atol=0.05)
    order, rows = generator.permutation(5), generator.permutation(20)
    renamed = fit_game(masks[rows][:, order], utilities[rows], null, grand)
    np.testing.assert_allclose(renamed.interactions, game.interactions[np.ix_(order, order)], atol=0.02 * size)


def test_repetitions_of_a_coalition_are_averaged() -> None:
    masks = sample_coalitions(6, 40, seed=0)
    worth, noise = np.arange(6.0), np.random.default_rng(0).normal(size=(4, 40))
    once = fit_game(masks, masks @ worth + noise[0], 0.0, 15.0)
    rows = np.vstack([masks] * 4)
    often = fit_game(rows, rows @ worth + noise.ravel(), 0.0, 15.0, seeds=np.repeat(np.arange(4), 40))
    assert often.shapley.stderr.mean() < 0.8 * once.shapley.stderr.mean()


def test_contributors_always_together_are_named_and_widened() -> None:
    masks = sample_coalitions(6, 40, seed=0)
    masks = np.hstack([masks, masks[:, :1]])
    utilities = masks @ np.arange(7.0) + 0.1 * np.random.default_rng(0).normal(size=40)
    game = fit_game(masks, utilities, 0.0, 21.0)
    assert game.unresolved[0, 6]
    assert "0 and 6" in str(game.diagnostics["why"])
    # The sum of the two is known and the difference is not.
    assert game.shapley.stderr[[0, 6]].min() > 3 * game.shapley.stderr[1:6].max()


def test_few_coalitions_leave_pairs_unresolved_and_wide() -> None:
    game = KINDS["interacting"](16, 0)
    few, many = fit(game, 32, 2.0), fit(game, 400, 0.1)
    assert few.unresolved.mean() > 0.5
    assert "too few or too noisy" in str(few.diagnostics["why"])
    assert not many.unresolved.any()
    three = fit_game([[1, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1]], [1, 2, 1, 3], 0, 3)
    assert np.isinf(three.interactions_stderr).all()
    assert "at least 4 contributors" in str(three.diagnostics["why"])


def test_bad_input_is_refused() -> None:
    masks = sample_coalitions(4, 8, seed=0)
    game = fit_game(masks, masks @ np.arange(4.0), 0.0, 6.0)
    with pytest.raises(InputError, match=r"the game has 4 contributors, .* got 3 columns"):
        game.predict([[True, False, True]])
    with pytest.raises(InputError, match="0 or False elsewhere; got 2"):
        game.predict([[2, 0, 1, 1]])
    with pytest.raises(InputError, match="at least as many distinct coalitions, got 2"):
        fit_game(masks[:2], [0, 1], 0, 1)
    with pytest.raises(InputError, match="confidence of an interval lies between 0 and 1, got 95"):
        fit_game(masks, masks @ np.arange(4.0), 0, 6, confidence=95)
    assert royalty.fit_game is fit_game


def test_credit_is_that_of_the_game_and_of_its_seed() -> None:
    generator, masks = np.random.default_rng(0), sample_coalitions(20, 320, seed=0)
    pairs = np.triu(generator.normal(size=(20, 20)), 1) * 0.3
    utilities = masks @ np.arange(20.0) + np.einsum("ij,jk,ik->i", masks * 1.0, pairs, masks * 1.0)
    measured = masks, utilities + generator.normal(size=320), 0.0, 190.0
    first, second = (fit_game(*measured, seed=seed).shapley for seed in (0, 1))
    assert not np.allclose(first.values, second.values, rtol=1e-12), "more than 280 coalitions are chosen from"
    by_estimator = royalty.estimate_shapley(*measured, estimator="game", seed=1)
    np.testing.assert_allclose(by_estimator.values, second.values)
    np.testing.assert_allclose(by_estimator.stderr, second.stderr)
