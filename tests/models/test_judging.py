"""Scores of predictions against held-out utilities that are known."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.judging.controls import best_bit, random_credit
from royalty.models.judging.datamodeling import (
    folds_of,
    held_out_coalitions,
    only_top,
    relative_change,
    without_top,
)
from royalty.models.judging.ranking import HeldOutRanking, lead, strata_of
from royalty.models.judging.sets import by_cluster


def sets_of(n_players: int, alpha: float, count: int, sets: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Independent sets of coalitions: their masks, and the set of each."""
    drawn = [held_out_coalitions(n_players, alpha, count, seed=number) for number in range(sets)]
    return np.vstack(drawn), np.repeat(np.arange(sets), [len(masks) for masks in drawn])


def test_held_out_coalitions_are_distinct_and_of_one_size() -> None:
    masks = held_out_coalitions(10, 0.25, 30, seed=0)
    assert masks.shape == (30, 10)
    assert (masks.sum(axis=1) == 2).all()
    assert len(np.unique(masks, axis=0)) == 30
    assert len(held_out_coalitions(4, 0.5, 40, seed=0)) == 6
    assert np.array_equal(masks, held_out_coalitions(10, 0.25, 30, seed=0))
    assert not np.array_equal(masks, held_out_coalitions(10, 0.25, 30, seed=1))
    with pytest.raises(InputError, match=r"alpha 0.1 of 4 gives 0"):
        held_out_coalitions(4, 0.1, 5, seed=0)


def test_true_credit_of_an_additive_game_scores_one_and_its_negative_minus_one() -> None:
    worth = np.random.default_rng(0).normal(size=12)
    masks, sets = sets_of(12, 0.5, 40)
    ranking = HeldOutRanking(5 + masks @ worth, sets)
    score = ranking.score(5 + masks @ worth, absolute=True)
    assert (score.lds, score.pearson, score.low, score.high) == pytest.approx((1, 1, 1, 1))
    assert (score.bias, score.error) == pytest.approx((0, 0), abs=1e-12)
    assert (score.coalitions, score.groups) == (120, 3)
    assert ranking.score(-(masks @ worth)).lds == pytest.approx(-1)
    assert ranking.score(masks @ worth).error is None, "predictions up to a constant have no error"


def test_what_moves_all_utilities_of_a_set_moves_no_rank() -> None:
    worth = np.random.default_rng(0).normal(size=12)
    masks, sets = sets_of(12, 0.25, 40)
    utilities = masks @ worth + 100.0 * sets
    assert HeldOutRanking(utilities, sets).correlation(masks @ worth) == pytest.approx(1)
    assert HeldOutRanking(utilities, np.zeros_like(sets)).correlation(masks @ worth) < 0.9
    shifted = HeldOutRanking(masks @ worth, sets).score(masks @ (worth + 1), absolute=True)
    assert shifted.lds == pytest.approx(1)
    assert (shifted.bias, shifted.error) == pytest.approx((3, 3))


def test_credit_that_knows_nothing_scores_about_zero_within_its_interval() -> None:
    generator = np.random.default_rng(0)
    masks, sets = sets_of(12, 0.5, 30, sets=2)
    scores = []
    for _ in range(60):
        ranking = HeldOutRanking(generator.normal(size=60), sets, draws=200)
        scores.append(ranking.score(masks @ generator.normal(size=12)))
    assert np.mean([score.lds for score in scores]) == pytest.approx(0, abs=0.06)
    assert np.mean([score.low <= 0 <= score.high for score in scores]) > 0.85
    assert HeldOutRanking(generator.normal(size=60), sets).score(np.ones(60)).lds == 0
    chance = random_credit(HeldOutRanking(masks @ np.arange(12.0), sets), masks, seed=0)
    assert chance.lds == pytest.approx(0, abs=0.1)
    assert chance.low < -0.3 < 0.3 < chance.high


def test_more_coalitions_narrow_the_interval() -> None:
    generator, worth = np.random.default_rng(0), np.random.default_rng(1).normal(size=12)

    def width(coalitions: int) -> float:
        masks, sets = sets_of(12, 0.5, coalitions)
        score = HeldOutRanking(masks @ worth + generator.normal(size=len(masks)), sets).score(masks @ worth)
        return score.high - score.low

    assert width(160) < 0.75 * width(40)


def test_a_method_is_ahead_in_five_percent_of_draws_if_it_is_no_better() -> None:
    generator, worth = np.random.default_rng(0), np.random.default_rng(1).normal(size=12)
    masks, sets = sets_of(12, 0.5, 40, sets=2)
    ahead = []
    for _ in range(120):
        ranking = HeldOutRanking(masks @ worth + generator.normal(size=80), sets, draws=200)
        first, second = (ranking.score(masks @ worth + generator.normal(size=80)) for _ in range(2))
        ahead.append(lead(first, second).p < 0.05)
    assert 0.0 < np.mean(ahead) < 0.12


def test_a_test_between_methods_sees_what_two_intervals_do_not() -> None:
    generator, worth = np.random.default_rng(0), np.random.default_rng(1).normal(size=12)
    masks, sets = sets_of(12, 0.5, 40)
    common = masks @ worth + generator.normal(size=120)  # an error that both methods make
    ranking = HeldOutRanking(masks @ worth, sets)
    better, worse = (ranking.score(common + own * generator.normal(size=120)) for own in (0.0, 1.0))
    tested = lead(better, worse)
    assert tested.difference == pytest.approx(better.lds - worse.lds)
    assert better.low < worse.high, "the intervals overlap"
    assert tested.p < 0.02
    assert tested.low > 0
    assert lead(worse, better).high < 0
    assert lead(better, better).p == 1


def test_within_strata_a_planted_contributor_counts_for_nothing() -> None:
    worth = np.random.default_rng(0).normal(size=12)
    worth[3] = -50.0
    planted = np.arange(12) == 3
    masks, sets = sets_of(12, 0.5, 60)
    utilities, bit = masks @ worth, -masks[:, 3].astype(float)
    strata = strata_of(masks, planted, sets)
    assert len(np.unique(strata)) == 6
    assert HeldOutRanking(utilities, sets).correlation(bit) > 0.8
    within = HeldOutRanking(utilities, strata)
    assert within.correlation(bit) == 0
    assert within.correlation(masks @ worth) == pytest.approx(1)


def test_the_best_bit_is_found_in_other_coalitions() -> None:
    generator, worth = np.random.default_rng(0), np.zeros(12)
    worth[3] = -2.0
    for count in (3, 1):
        masks, sets = sets_of(12, 0.5, 40, sets=count)
        utilities = masks @ worth + 10.0 * sets + 0.1 * generator.normal(size=len(masks))
        predicted = best_bit(masks, utilities, sets, sets)
        assert HeldOutRanking(utilities, sets).correlation(predicted) > 0.8
        assert np.array_equal(predicted > 0, ~masks[:, 3])
    noise = [
        HeldOutRanking(values, sets).correlation(best_bit(masks, values, sets, sets))
        for values in generator.normal(size=(40, len(masks)))
    ]
    assert np.mean(noise) < 0.1, "a bit that is chosen on the coalitions it predicts would rank noise at .3"


def test_small_groups_are_left_out_and_too_few_coalitions_refused() -> None:
    utilities = np.arange(5.0)
    assert HeldOutRanking(utilities, np.array([0, 0, 0, 1, 1])).score(utilities).coalitions == 3
    with pytest.raises(InputError, match="at least 3"):
        HeldOutRanking(utilities, np.array([0, 0, 1, 1, 2]))
    with pytest.raises(InputError, match=r"shapes \(5,\) and \(4,\)"):
        HeldOutRanking(utilities, np.zeros(4, dtype=int))


def test_folds_hold_as_many_of_each_size() -> None:
    sizes = [2, 3, 5] * 8
    folds = folds_of(sizes, 4)
    assert sorted(zip(sizes, folds.tolist(), strict=True)) == [
        (n, fold) for n in (2, 3, 5) for fold in (0, 0, 1, 1, 2, 2, 3, 3)
    ]


def test_counterfactuals_leave_out_or_keep_the_highest() -> None:
    values = np.array([0.1, 3.0, -1.0, 2.0, 0.5])
    assert without_top(values, 0.4).tolist() == [True, False, True, False, True]
    assert without_top(values, 0.1).tolist() == [True, False, True, True, True]
    assert only_top(values, 0.6).tolist() == [False, True, False, True, True]
    assert relative_change(6.0, 8.0) == -0.25


def test_clusters_are_at_the_ends_of_the_order() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 5)) + 8 * (np.arange(60) % 3 == 0)[:, None]  # 20 of 60 lie apart
    order = by_cluster(features, 0)
    assert sorted(order.tolist()) == list(range(60))
    apart = set(range(0, 60, 3))
    assert apart in (set(order[:20].tolist()), set(order[-20:].tolist()))
