"""Estimated credit of games with known answers, laws that hold for every game, and refusals."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from royalty.models.base.errors import InputError
from royalty.models.valuation.coalitions import sample_coalitions, size_distribution
from royalty.models.valuation.game import fit_game
from royalty.models.valuation.regression import to_units
from royalty.models.valuation.semivalue_estimates import estimate_semivalues
from royalty.models.valuation.semivalues import exact_shapley
from royalty.models.valuation.shapley import ShapleyEstimate, estimate_shapley

ESTIMATORS = ("constrained", "unbiased", "mixed", "auto")


def exact(utility, players: int) -> np.ndarray:
    return exact_shapley(lambda masks: np.array([utility(mask) for mask in masks]), players)


def estimate(
    utility, players: int, coalitions: int, *, seed: int = 0, sizes: str = "leverage", paired: bool = True, **options
) -> ShapleyEstimate:
    masks = sample_coalitions(players, coalitions, seed=seed, sizes=sizes, paired=paired)
    utilities = np.array([utility(mask) for mask in masks])
    nobody, everybody = np.zeros(players, bool), np.ones(players, bool)
    return estimate_shapley(masks, utilities, utility(nobody), utility(everybody), **options)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("estimator", ["constrained", "mixed", "auto"])
@pytest.mark.parametrize("players", [2, 3, 8, 30])
def test_additive_game_with_a_jump_from_nobody_is_exact(players: int, estimator: str, paired: bool) -> None:
    worth = np.random.default_rng(players).normal(size=players)

    def utility(mask: np.ndarray) -> float:
        return float(worth @ mask + (5.0 if mask.any() else 0.0))

    result = estimate(utility, players, 6 * players, estimator=estimator, paired=paired)
    np.testing.assert_allclose(result.values, worth + 5 / players, atol=1e-7)
    if players > 3:  # three pairs of coalitions leave nothing to tell noise by
        np.testing.assert_allclose(result.stderr, 0, atol=1e-4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("players", [2, 3, 5, 9])
def test_all_coalitions_give_exact_values(players: int, estimator: str) -> None:
    table = np.random.default_rng(players).normal(size=2**players)

    def utility(mask: np.ndarray) -> float:
        return float(table[(mask << np.arange(players)).sum()])

    result = estimate(utility, players, 2**players, estimator=estimator)
    np.testing.assert_allclose(result.values, exact(utility, players), atol=1e-10)
    assert result.diagnostics["estimator"] == "enumeration"
    assert result.n_evaluations == 2**players
    assert np.isfinite([result.ci_low, result.ci_high]).all()


@pytest.mark.parametrize("players", [5, 8])
def test_intervals_of_all_coalitions_hold_what_the_noise_of_one_training_hides(players: int) -> None:
    generator, worth = np.random.default_rng(0), np.arange(players) - 1.0
    covered = []
    for _ in range(200):
        masks = sample_coalitions(players, 2**players, seed=0)
        noisy = masks @ worth + generator.normal(0, 0.3, len(masks))
        found = estimate_shapley(masks, noisy, *(np.array([0.0, worth.sum()]) + generator.normal(0, 0.3, 2)))
        covered.append((found.ci_low <= worth) & (worth <= found.ci_high))
    assert 0.92 < np.mean(covered) < 0.99


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("sizes", ["shapley", "leverage"])
def test_interactions_of_two_cancel_in_pairs_and_of_three_are_approached(sizes: str, estimator: str) -> None:
    generator = np.random.default_rng(1)
    worth, pairs = generator.normal(size=9), np.triu(generator.normal(size=(9, 9)), 1)

    def utility(mask: np.ndarray) -> float:
        return float(worth @ mask + mask @ pairs @ mask)

    truth = exact(utility, 9)
    result = estimate(utility, 9, 120, estimator=estimator, sizes=sizes)
    np.testing.assert_allclose(result.values, truth, atol=1.0 if estimator == "unbiased" else 1e-6)

    def saturating(mask: np.ndarray) -> float:
        return 3 * float(mask[:3].all()) + 2 * float(mask[2:].any()) + float(worth @ mask)

    result, truth = estimate(saturating, 9, 400, estimator=estimator, sizes=sizes), exact(saturating, 9)
    assert (np.abs(result.values - truth) < 4 * result.stderr).all()
    assert result.stderr.max() < (0.6 if estimator == "unbiased" else 0.2)


@pytest.mark.parametrize("estimator", ["constrained", "mixed", "auto"])
@pytest.mark.statistical
def test_intervals_hold_the_truth_as_often_as_they_say(estimator: str) -> None:
    worth, held = np.linspace(-1, 1, 8), []
    for trial in range(120):
        noise = np.random.default_rng(trial)
        result = estimate(
            lambda mask, noise=noise: float(worth @ mask + 0.4 * noise.normal() * (0 < mask.sum() < 8)),
            8,
            48,
            seed=trial,
            n_bootstrap=200,
            estimator=estimator,
        )
        held.append((result.ci_low <= worth) & (worth <= result.ci_high))
    assert 0.925 <= np.mean(held) <= 0.975


@pytest.mark.parametrize(
    ("players", "coalitions", "paired", "noise"),
    [(20, 12, True, 0.3), (20, 20, False, 0.3), (20, 38, True, 0.3), (3, 6, True, 2.0)],
)
def test_intervals_of_fewer_observations_than_contributors_are_wide_enough(
    players: int, coalitions: int, paired: bool, noise: float
) -> None:
    """Nothing is left over to tell noise by, and of some contributors nothing may be known at all."""
    held = []
    for trial in range(60):
        generator = np.random.default_rng(trial)
        worth = generator.normal(size=players)
        masks = sample_coalitions(players, 2 * (players - 1) + 2, seed=trial, paired=paired)[:coalitions]
        utilities = masks @ worth + noise * generator.normal(size=coalitions)
        ends = np.array([0.0, worth.sum()]) + noise * generator.normal(size=2)
        found = estimate_shapley(masks, utilities, *ends, ridge=0.01)
        held.append(((found.ci_low <= worth) & (worth <= found.ci_high)).mean())
    assert np.mean(held) > 0.88


def test_few_noisy_coalitions_are_shrunk_to_less_error() -> None:
    errors: dict[str, list[float]] = {"mixed": [], "constrained": []}
    for trial in range(30):
        generator = np.random.default_rng(trial)
        worth = generator.normal(size=20)
        masks = sample_coalitions(20, 40, seed=trial, sizes="leverage")
        utilities = masks @ worth + generator.normal(size=40)
        for estimator, found in errors.items():
            result = estimate_shapley(masks, utilities, 0.0, worth.sum(), estimator=estimator)
            found.append(float(((result.values - worth) ** 2).mean()))
    assert np.mean(errors["mixed"]) < 0.85 * np.mean(errors["constrained"])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    players=st.integers(2, 7),
    shift=st.floats(-5, 5),
    scale=st.floats(0.1, 10),
    estimator=st.sampled_from(("constrained", "unbiased", "mixed")),
)
def test_laws(seed: int, players: int, shift: float, scale: float, estimator: str) -> None:
    """Efficiency; a shift of all utilities changes nothing; scaling scales; renaming players renames credit."""
    generator = np.random.default_rng(seed)
    masks = sample_coalitions(players, 4 * players, seed=seed)
    utilities, null, grand = generator.normal(size=len(masks)), float(generator.normal()), float(generator.normal())
    options = {"n_bootstrap": 2, "ridge": 0.01, "estimator": estimator}
    result = estimate_shapley(masks, utilities, null, grand, **options)
    assert result.diagnostics["efficiency_gap"] < 1e-9
    assert result.values.sum() == pytest.approx(grand - null, abs=1e-9)
    shifted = estimate_shapley(masks, utilities + shift, null + shift, grand + shift, **options)
    np.testing.assert_allclose(shifted.values, result.values, atol=1e-6)
    scaled = estimate_shapley(masks, utilities * scale, null * scale, grand * scale, **options)
    np.testing.assert_allclose(scaled.values, result.values * scale, atol=1e-6)
    order = generator.permutation(players)
    renamed = estimate_shapley(masks[:, order], utilities, null, grand, **options)
    np.testing.assert_allclose(renamed.values, result.values[order], atol=1e-6)
    shuffled = generator.permutation(len(masks))
    reordered = estimate_shapley(masks[shuffled], utilities[shuffled], null, grand, **options)
    np.testing.assert_allclose(reordered.values, result.values, atol=1e-6)


def test_repetitions_are_told_apart_and_averaged() -> None:
    generator = np.random.default_rng(0)
    worth, masks = generator.normal(size=10), sample_coalitions(10, 80, seed=0, sizes="leverage")
    rows = np.repeat(np.arange(80), 6)  # three training seeds of two draws of images each
    seeds, draws = np.tile([0, 0, 1, 1, 2, 2], 80), np.tile([0, 1], 240)
    training, sampling = generator.normal(size=(80, 3)), generator.normal(size=480)
    utilities = (masks @ worth)[rows] + 0.3 * training[rows, seeds] + 0.5 * sampling
    once = estimate_shapley(masks, utilities[::6], 0.0, worth.sum())
    result = estimate_shapley(masks[rows], utilities, 0.0, worth.sum(), seeds=seeds, draws=draws)
    assert result.stderr.mean() < 0.7 * once.stderr.mean()
    assert "variance_training" not in once.diagnostics
    shares = [result.diagnostics[f"variance_{source}"] for source in ("coalitions", "training", "sampling")]
    assert sum(shares) == pytest.approx(1, abs=1e-6)
    # Of the variance of a coalition's mean: 0.09/3 from training, 0.25/6 from sampling, nothing else.
    assert shares[1] / shares[2] == pytest.approx(0.09 / 3 / (0.25 / 6), rel=0.5)
    assert shares[0] < 0.35


@pytest.mark.parametrize("seeded", [False, True])
def test_a_row_that_is_there_twice_is_one_measurement(seeded: bool) -> None:
    every = (np.arange(1, 15)[:, None] >> np.arange(4) & 1).astype(bool)
    for masks in (every, sample_coalitions(6, 24, seed=0)):
        seeds = np.repeat([0, 1], len(masks)) if seeded else None
        masks = np.vstack([masks, masks]) if seeded else masks
        utilities = np.random.default_rng(1).normal(size=len(masks))
        again = np.r_[np.arange(len(masks)), 0, 0, 3, np.arange(len(masks))]
        options = {} if seeds is None else {"seeds": seeds}
        repeated = {} if seeds is None else {"seeds": seeds[again]}
        for estimate in (
            estimate_shapley,
            lambda *rows, **given: estimate_semivalues(*rows, value="banzhaf", **given),
            lambda *rows, **given: fit_game(*rows, **given).shapley,
        ):
            once = estimate(masks, utilities, 0.0, 1.0, **options)
            twice = estimate(masks[again], utilities[again], 0.0, 1.0, **repeated)
            np.testing.assert_allclose(twice.stderr, once.stderr)
            np.testing.assert_allclose(twice.values, once.values)


@pytest.mark.parametrize("unit", [1e200, 1e-200, 1e307])
def test_units_whose_squares_a_computer_does_not_hold_are_refused(unit: float) -> None:
    masks = sample_coalitions(6, 40, seed=0)
    utilities = unit * (masks.sum(axis=1) + np.random.default_rng(0).normal(size=40))
    for estimate in (estimate_shapley, fit_game, lambda *rows: estimate_semivalues(*rows, value="banzhaf")):
        with pytest.raises(InputError, match="Give them in another unit"):
            estimate(masks, utilities, 0.0, 6 * unit)
    same = estimate_shapley(masks, np.full(40, 1.0), 1.0, 1.0)
    np.testing.assert_allclose(same.values, 0, atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_a_game_of_two_has_no_warnings() -> None:
    game = fit_game([[1, 0], [0, 1]], [1, 2], 0, 3)
    np.testing.assert_allclose(game.shapley.values, [1, 2])


def test_what_a_seed_does_to_all_coalitions_alike_is_no_noise() -> None:
    masks = sample_coalitions(6, 30, seed=0)
    utilities = np.concatenate([masks @ np.arange(6.0), masks @ np.arange(6.0) + 7])
    result = estimate_shapley(np.vstack([masks, masks]), utilities, 0.0, 15.0, seeds=np.repeat([0, 1], 30))
    np.testing.assert_allclose(result.values, np.arange(6.0), atol=1e-6)
    np.testing.assert_allclose(result.stderr, 0, atol=1e-4)


def test_a_failed_coalition_leaves_its_partner_and_a_wider_interval() -> None:
    generator = np.random.default_rng(0)
    worth, masks = generator.normal(size=8), sample_coalitions(8, 40, seed=0, sizes="leverage")
    utilities = masks @ worth + 4 + 0.5 * generator.normal(size=40)
    whole = estimate_shapley(masks, utilities, 0.0, worth.sum() + 4, estimator="mixed")
    kept = np.setdiff1d(np.arange(40), [3, 10, 21, 30])
    broken = estimate_shapley(masks[kept], utilities[kept], 0.0, worth.sum() + 4, estimator="mixed")
    assert broken.diagnostics["pairs"] == 16
    assert broken.diagnostics["unpaired"] == 4
    assert broken.stderr.mean() > whole.stderr.mean()
    np.testing.assert_allclose(broken.values, worth + 0.5, atol=6 * whole.stderr.max())


@pytest.mark.parametrize("sizes", ["shapley", "leverage"])
def test_coalitions_are_distinct_complementary_pairs_of_their_distribution(sizes: str) -> None:
    masks = sample_coalitions(12, 1000, seed=3, sizes=sizes)
    counts = masks.sum(axis=1)
    assert np.array_equal(masks[1::2], ~masks[::2])
    assert len(np.unique(masks, axis=0)) == 1000
    assert counts.min() >= 1
    assert counts.max() <= 11
    np.testing.assert_allclose(masks.mean(axis=0), 0.5, atol=1e-9)
    distribution = size_distribution(12, sizes)
    # There are 12 coalitions of one contributor; the surplus goes to the sizes with most left.
    shares = np.bincount(counts, minlength=12)[4:9] / len(masks)
    if sizes == "leverage":
        assert (shares > 0.9 * distribution[3:8]).all()
    assert np.array_equal(masks, sample_coalitions(12, 1000, seed=3, sizes=sizes))
    assert not np.array_equal(masks, sample_coalitions(12, 1000, seed=4, sizes=sizes))


def test_sizes_follow_their_distribution_where_there_are_coalitions_enough() -> None:
    for sizes in ("shapley", "leverage"):
        drawn = np.concatenate([sample_coalitions(40, 80, seed=seed, sizes=sizes) for seed in range(20)]).sum(axis=1)
        shares = np.bincount(drawn, minlength=40)[1:] / len(drawn)
        np.testing.assert_allclose(shares, size_distribution(40, sizes), atol=0.02)


@pytest.mark.parametrize("paired", [True, False])
def test_a_border_is_measured_whole(paired: bool) -> None:
    masks = sample_coalitions(9, 60, seed=3, sizes="border", paired=paired)
    sizes = np.bincount(masks.sum(axis=1), minlength=9)
    assert len(np.unique(masks, axis=0)) == 60
    assert (sizes[1], sizes[8]) == (9, 9)  # every contributor alone, and everybody without each
    assert sizes[2:8].tolist() == pytest.approx([7] * 6, abs=2)  # the others evenly
    assert not paired or np.array_equal(masks[1::2], ~masks[::2])
    least = sample_coalitions(9, 18, seed=3, sizes="border", paired=paired)
    assert set(least.sum(axis=1)) == {1, 8}
    with pytest.raises(InputError, match="9 contributors take at least 18 coalitions"):
        sample_coalitions(9, 16, seed=3, sizes="border", paired=paired)
    assert [len(sample_coalitions(players, 6, seed=0, sizes="border")) for players in (2, 3)] == [2, 6]


def test_coalitions_of_a_design_tell_more_than_independent_ones() -> None:
    """The information on the least known direction, next to coalitions of the same sizes drawn at random."""

    def information(masks: np.ndarray) -> float:
        centred = masks - masks.mean(axis=1, keepdims=True)
        return float(np.linalg.eigvalsh(centred.T @ centred)[1])

    generator, ratios = np.random.default_rng(0), []
    for seed in range(10):
        designed = sample_coalitions(20, 60, seed=seed)[::2]
        independent = np.array([generator.permutation(mask) for mask in designed])
        ratios.append(information(designed) / information(independent))
    assert np.mean(ratios) > 1.3


@pytest.mark.parametrize(("players", "coalitions"), [(1, 4), (5, 7), (12, 20)])
def test_impossible_draws_are_refused(players: int, coalitions: int) -> None:
    with pytest.raises(InputError, match="at least"):
        sample_coalitions(players, coalitions, seed=0)


def test_bad_input_is_refused_by_name() -> None:
    masks = sample_coalitions(4, 8, seed=0)
    with pytest.raises(InputError, match=r"got 8 coalitions and utilities of shape \(7,\)"):
        estimate_shapley(masks, np.zeros(7), 0, 1)
    with pytest.raises(InputError, match="coalition 5"):
        estimate_shapley(masks, np.array([0, 0, 0, 0, 0, np.nan, 0, 0]), 0, 1)
    with pytest.raises(InputError, match="null has inf"):
        estimate_shapley(masks, np.zeros(8), np.inf, 1)
    with pytest.raises(InputError, match="at least 2 contributors, got 1"):
        estimate_shapley(np.ones((2, 1), bool), np.zeros(2), 0, 1)
    with pytest.raises(InputError, match="4 contributors are told apart by at least as many"):
        estimate_shapley(masks[:2], np.zeros(2), 0, 1)
    absent, present = masks & [True, True, True, False], masks | [False, True, False, False]
    proper = [0 < mask.sum() < 4 for mask in absent]
    with pytest.raises(InputError, match="contributor 3 is in no coalition"):
        estimate_shapley(absent[proper], np.zeros(sum(proper)), 0, 1, ridge=0.1)
    proper = [0 < mask.sum() < 4 for mask in present]
    with pytest.raises(InputError, match="contributor 1 is in all"):
        estimate_shapley(present[proper], np.zeros(sum(proper)), 0, 1, ridge=0.1)
    with pytest.raises(InputError, match="nobody and everybody have arguments of their own"):
        estimate_shapley(np.vstack([masks, masks[:1] | True]), np.zeros(9), 0, 1)
    with pytest.raises(InputError, match="no estimator is called 'unbiassed'; did you mean unbiased"):
        estimate_shapley(masks, np.zeros(8), 0, 1, estimator="unbiassed")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="ridge is a finite number of at least 0, got -1"):
        estimate_shapley(masks, np.zeros(8), 0, 1, ridge=-1)
    with pytest.raises(InputError, match="no distribution of sizes is called 'leverages'; did you mean leverage"):
        sample_coalitions(4, 8, seed=0, sizes="leverages")  # type: ignore[arg-type]
    twice = np.vstack([masks, masks[:1]])
    with pytest.raises(InputError, match=r"one utility for each seed; row 8 .* has 1.0, and row 0, .* has 0.0"):
        estimate_shapley(twice, np.array([0.0] * 8 + [1.0]), 0, 1)
    estimate_shapley(twice, np.array([0.0] * 8 + [1.0]), 0, 1, seeds=np.array([0] * 8 + [1]))
    estimate_shapley(twice, np.zeros(9), 0, 1)


@pytest.mark.parametrize(
    ("coalitions", "given", "message"),
    [
        (0, {}, "utilities of coalitions; got none"),
        (8, {"seeds": np.zeros(3, int)}, r"each of the 8 rows has one training seed; got shape \(3,\)"),
        (8, {"draws": np.zeros(9, int)}, r"each of the 8 rows has one seed of images; got shape \(9,\)"),
        (8, {"confidence": 95}, "between 0 and 1, got 95; 0.95 is usual"),
        (8, {"n_bootstrap": 1}, "at least 2 draws of the bootstrap, got 1"),
    ],
)
def test_bad_options_are_refused(coalitions: int, given: dict[str, Any], message: str) -> None:
    masks = sample_coalitions(4, 8, seed=0)[:coalitions]
    with pytest.raises(InputError, match=message):
        estimate_shapley(masks, np.zeros(coalitions), 0, 1, **given)


def test_pairs_of_one_size_foretell_no_slope_over_sizes() -> None:
    members = [[0, 1], [2, 3], [0, 2], [1, 3], [0], [1]]
    masks = np.array([np.isin(np.arange(4), own) for own in members])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        units = to_units(masks, np.array([6.0, 4.0, 8.0, 6.0, 1.0, 2.0]))
    assert units.response.tolist() == pytest.approx([1, 1, 1 - 6, 2 - 6])
