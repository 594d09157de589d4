"""Scores of credit against held-out utilities that are known."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.judging.datamodeling import (
    datamodeling_score,
    folds_of,
    held_out_coalitions,
    only_top,
    relative_change,
    without_top,
)
from royalty.models.judging.sets import by_cluster


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
    masks = held_out_coalitions(12, 0.5, 40, seed=0)
    utilities = (5 + masks @ worth)[None].repeat(3, axis=0)
    score = datamodeling_score(worth, 5.0, masks, utilities)
    assert (score.lds, score.pearson, score.low, score.high) == pytest.approx((1, 1, 1, 1))
    assert (score.bias, score.error) == pytest.approx((0, 0), abs=1e-12)
    assert (score.coalitions, score.seeds) == (40, 3)
    assert datamodeling_score(-worth, 5.0, masks, utilities).lds == pytest.approx(-1)


def test_a_shift_of_all_credit_moves_the_level_and_not_the_ranks() -> None:
    worth = np.random.default_rng(0).normal(size=12)
    masks = held_out_coalitions(12, 0.25, 40, seed=0)
    utilities = (masks @ worth)[None]
    score = datamodeling_score(worth + 1, 0.0, masks, utilities)
    assert score.lds == pytest.approx(1)
    assert score.bias == pytest.approx(3)
    assert score.error == pytest.approx(3)
    ranked = datamodeling_score(worth, None, masks, utilities)
    assert (ranked.bias, ranked.error) == (None, None)


def test_each_coalition_may_be_predicted_by_credit_of_its_own() -> None:
    worth = np.random.default_rng(0).normal(size=6)
    masks = held_out_coalitions(6, 0.5, 12, seed=0)
    utilities = (masks @ worth)[None]
    rows = np.tile(worth, (12, 1))
    assert datamodeling_score(rows, 0.0, masks, utilities) == datamodeling_score(worth, 0.0, masks, utilities)
    rows[0] += 1  # of the three members of the first coalition alone
    assert datamodeling_score(rows, 0.0, masks, utilities).bias == pytest.approx(3 / 12)


def test_folds_hold_as_many_of_each_size() -> None:
    sizes = [2, 3, 5] * 8
    folds = folds_of(sizes, 4)
    assert sorted(zip(sizes, folds.tolist(), strict=True)) == [
        (n, fold) for n in (2, 3, 5) for fold in (0, 0, 1, 1, 2, 2, 3, 3)
    ]


def test_credit_that_knows_nothing_scores_about_zero_within_its_interval() -> None:
    generator = np.random.default_rng(0)
    masks = held_out_coalitions(12, 0.5, 60, seed=0)
    scores = [
        datamodeling_score(generator.normal(size=12), 0.0, masks, generator.normal(size=(2, 60)), n_bootstrap=100)
        for _ in range(40)
    ]
    assert np.mean([score.lds for score in scores]) == pytest.approx(0, abs=0.06)
    assert np.mean([score.low <= 0 <= score.high for score in scores]) > 0.8
    constant = datamodeling_score(np.ones(12), 0.0, masks, generator.normal(size=(1, 60)))
    assert constant.lds == 0


def test_more_seeds_and_coalitions_narrow_the_interval() -> None:
    generator, worth = np.random.default_rng(0), np.random.default_rng(1).normal(size=12)

    def width(coalitions: int) -> float:
        masks = held_out_coalitions(12, 0.5, coalitions, seed=0)
        score = datamodeling_score(worth, 0.0, masks, masks @ worth + generator.normal(size=(3, coalitions)))
        return score.high - score.low

    assert width(160) < 0.75 * width(40)


def test_too_few_coalitions_are_refused() -> None:
    with pytest.raises(InputError, match="at least 3"):
        datamodeling_score(np.ones(4), 0.0, np.eye(4, dtype=bool)[:2], np.zeros((1, 2)))


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
