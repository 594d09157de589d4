"""Certainty of credit: closed forms of the target and the forecast, and a forecast that comes true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from royalty.models.valuation.certainty import MOST, Certainty, certainty_of, pilot_size
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.shapley import ShapleyEstimate, estimate_shapley
from tests.models.games import noisy, random_additive

MASKS = sample_coalitions(6, 62, seed=0)
"""All there are, and so in perfect balance."""

VALUES = np.array([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
"""Of spread 1: a standard error is also a relative one."""

STEP = 1.03
"""Forecasts are found on a grid finer than this ratio, and rounded up to pairs."""


def judge(
    values: np.ndarray, error: np.ndarray | float, *, stderr: float | None = None, top: int | None = None, **options
) -> Certainty:
    """The certainty of 62 coalitions that gave these values, with intervals of four standard errors."""
    errors = np.broadcast_to(error, values.shape)
    estimate = ShapleyEstimate(values, errors, values - 2 * errors, values + 2 * errors, 64, {})
    return certainty_of(estimate, MASKS, stderr=stderr, top=top, **{"stability": 0.9, "seed": 0, **options})


@pytest.mark.parametrize(("target", "holds"), [(0.41, True), (0.4, True), (0.39, False)])
def test_target_is_held_by_the_largest_standard_error(target: float, holds: bool) -> None:
    found = judge(VALUES, np.array([0.1, 0.2, 0.4, 0.3, 0.2, 0.1]), stderr=target)
    assert found.relative_stderr == pytest.approx(0.4)
    assert found.reached is holds
    assert found.coalitions == 62
    assert found.needed is not None
    assert (found.needed == 62) is holds


def test_without_a_target_nothing_is_reached_or_needed() -> None:
    found = judge(VALUES, 0.01)
    assert (found.reached, found.needed, found.stability) == (False, None, None)


@pytest.mark.parametrize("target", [0.4, 0.2, 0.1])
def test_needed_coalitions_are_the_inverse_square_of_the_standard_error(target: float) -> None:
    """Half the standard error takes four times the coalitions."""
    found = judge(VALUES, 0.8, stderr=target)
    exact = 62 * (0.8 / target) ** 2
    assert found.needed is not None
    assert exact <= found.needed <= STEP * exact + 2
    assert found.needed % 2 == 0


def test_what_takes_more_than_the_farthest_forecast_is_out_of_reach() -> None:
    furthest = 0.8 / np.sqrt(MOST)
    assert judge(VALUES, 0.8, stderr=1.01 * furthest).needed is not None
    assert judge(VALUES, 0.8, stderr=0.99 * furthest).needed is None


def test_errors_count_in_units_of_the_spread() -> None:
    assert judge(10 * VALUES, 0.8).relative_stderr == pytest.approx(0.08)
    assert judge(VALUES + 5, 0.8).relative_stderr == pytest.approx(0.8)


def test_what_a_smaller_error_takes_is_known_until_all_coalitions_are_measured() -> None:
    found = judge(VALUES, 0.8)
    wide = replace(found, contributors=20)
    needed = wide.needed_for(0.5)
    assert needed is not None
    assert 62 * 4 <= needed <= STEP * 62 * 4 + 2
    assert found.needed_for(0.5) is None, "six contributors form 62 coalitions, and all are measured"
    assert wide.needed_for(1.0) == 62
    assert wide.needed_for(0.9 / np.sqrt(MOST)) is None


def test_words_say_whom_intervals_tell_apart() -> None:
    assert judge(VALUES, 2.05).error == (
        "no two contributors can be told apart (the largest standard error is 2.05 of the spread of credit)"
    )
    assert judge(VALUES, 0.1).error.startswith("9 of 15 pairs of contributors can be told apart (")
    assert judge(np.ones(6), 0.1).error == "all credits are equal so far"
    earlier = replace(judge(VALUES, 0.1), contributors=0, apart=0)
    assert earlier.error == "the largest standard error is 0.10 of the spread of credit"


def test_equal_credit_with_doubt_meets_no_target_and_without_doubt_every_one() -> None:
    doubtful = judge(np.ones(6), 0.1, stderr=1e6)
    assert doubtful.relative_stderr is None
    assert (doubtful.reached, doubtful.needed) == (False, None)
    for values in (np.ones(6), VALUES):
        sure = judge(values, 0.0, stderr=1e-9, top=3)
        assert (sure.relative_stderr, sure.stability, sure.width) == (0.0, 1.0, 0.0)
        assert (sure.reached, sure.needed) == (True, 62)


@pytest.mark.parametrize("top", [1, 2, 3, 6])
def test_top_far_apart_is_named_again_and_a_tied_one_by_chance(top: int) -> None:
    apart = np.array([3.0, 6.0, 1.0, 5.0, 2.0, 4.0])
    assert judge(apart, 0.01, top=top).stability == 1
    assert judge(np.ones(6), 1.0, top=top).stability == pytest.approx(top / 6, abs=0.03)


def test_stability_of_two_is_the_chance_that_their_order_stays() -> None:
    """The difference of two repeated credits errs by sqrt(2) sqrt(2) standard errors: P(N(1, 2) > 0) at half each."""
    found = judge(np.array([0.0, 1.0]), 0.5, top=1)
    assert found.stability == pytest.approx(0.8413, abs=0.03)


def test_both_targets_hold_or_neither_does() -> None:
    apart = np.arange(6.0)
    assert judge(apart, 0.01, stderr=0.5, top=2).reached
    assert not judge(apart, 0.01, stderr=0.001, top=2).reached
    assert not judge(apart, 1.0, stderr=1.0, top=2, stability=0.99).reached
    loose, strict = judge(apart, 1.0, stderr=1.0, top=2).needed, judge(apart, 1.0, stderr=1.0, top=2, stability=0.95)
    assert loose is not None
    assert strict.needed is not None
    assert 62 < loose < strict.needed


def test_width_falls_with_the_square_root_of_the_coalitions() -> None:
    found = judge(VALUES, np.array([0.1, 0.3, 0.1, 0.3, 0.1, 0.3]))
    assert found.width == pytest.approx(0.8)
    assert [found.width_at(count) for count in (62, 248)] == pytest.approx([0.8, 0.4])


def test_coalitions_measured_again_count_once() -> None:
    estimate = ShapleyEstimate(VALUES, VALUES * 0, VALUES, VALUES, 126, {})
    twice = np.vstack([MASKS, MASKS])
    assert certainty_of(estimate, twice, stderr=None, top=None, stability=0.9, seed=0).coalitions == 62


def test_width_falls_faster_while_coalitions_are_out_of_balance() -> None:
    """Two coalitions of one member each, of three: information 1 and 1/3, which in balance is 2/3 twice."""
    estimate = ShapleyEstimate(np.arange(3.0), np.ones(3), np.zeros(3), np.ones(3), 4, {})
    masks = np.eye(3, dtype=bool)[:2]
    found = certainty_of(estimate, masks, stderr=None, top=None, stability=0.9, seed=0)
    assert found.excess == pytest.approx(4 / 3)
    assert found.width_at(4) == pytest.approx(np.sqrt((1 + (1 / 3) / 4) / 2 / (4 / 3)))
    assert judge(VALUES, 0.1).excess == pytest.approx(1)


@pytest.mark.parametrize("players", [8, *(pytest.param(count, marks=pytest.mark.statistical) for count in (12, 24))])
def test_forecast_of_a_pilot_comes_true(players: int) -> None:
    """At 12 coalitions a contributor, foretold from a pilot, on noisy additive games."""
    ratios = []
    for seed in range(9):
        game = random_additive(players, seed)
        utility = noisy(game.utility, players, 0.5 * game.spread, seed)
        null, grand = (float(end) for end in utility(np.repeat([[False], [True]], players, axis=1)))
        found = []
        for count in (pilot_size(players), 12 * players):
            masks = sample_coalitions(players, count, seed=seed)
            estimate = estimate_shapley(masks, utility(masks), null, grand)
            found.append(certainty_of(estimate, masks, stderr=None, top=None, stability=0.9, seed=0))
        pilot, whole = found
        fall = pilot.width_at(12 * players) / pilot.width
        ratios.append((pilot.relative_stderr * fall / whole.relative_stderr, pilot.width * fall / whole.width))
    for ratio in np.median(ratios, axis=0):
        assert 1 / 1.3 < ratio < 1.3
