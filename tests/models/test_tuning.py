"""The choice among cheap models, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.judging.tuning import compare_cheap

RETRAINED = np.random.default_rng(0).normal(size=40)
NOISE = np.random.default_rng(1).normal(size=(4, 40))


def test_a_line_is_no_error_and_no_model_has_an_error_of_one() -> None:
    compared = compare_cheap(np.array([5 - 3 * RETRAINED, np.full(40, 2.0)]), RETRAINED, np.array([2.0, 1.0]))
    np.testing.assert_allclose(compared.errors, [0, 1], atol=1e-9)
    assert compared.chosen == 0


def test_errors_are_those_of_leaving_each_coalition_out() -> None:
    cheap = RETRAINED + NOISE[0]
    residuals = []
    for left in range(40):
        others = np.arange(40) != left
        slope, offset = np.polyfit(cheap[others], RETRAINED[others], 1)
        residuals.append([RETRAINED[left] - slope * cheap[left] - offset, RETRAINED[left] - RETRAINED[others].mean()])
    model, alone = np.square(residuals).mean(axis=0)
    compared = compare_cheap(cheap[None], RETRAINED, np.ones(1))
    assert compared.errors[0] == pytest.approx(model / alone)


def test_units_and_order_change_nothing() -> None:
    cheap, seconds = RETRAINED + NOISE * np.array([[0.3], [0.5], [1], [3]]), np.array([4.0, 3, 2, 1])
    first = compare_cheap(cheap, RETRAINED, seconds)
    order = np.random.default_rng(2).permutation(40)
    second = compare_cheap(7 - 2 * cheap[:, order], 10 + 3 * RETRAINED[order], 60 * seconds)
    np.testing.assert_allclose(second.errors, first.errors)
    np.testing.assert_allclose(second.stderr, first.stderr)
    assert second.chosen == first.chosen


def test_the_fastest_about_as_good_as_the_best_is_chosen() -> None:
    same = RETRAINED + 0.3 * NOISE[0]
    nearly = same + 0.02 * NOISE[1]
    bad = RETRAINED + 2 * NOISE[2]
    assert compare_cheap(np.array([same, nearly, bad]), RETRAINED, np.array([9.0, 3, 1])).chosen == 1
    assert compare_cheap(np.array([same, nearly, bad]), RETRAINED, np.array([3.0, 9, 1])).chosen == 0
    assert compare_cheap(np.array([bad]), RETRAINED, np.ones(1)).chosen == 0
    assert compare_cheap(NOISE[3:], RETRAINED, np.ones(1)).chosen is None, "noise predicts nothing"


def test_one_point_that_defines_the_line_is_predicted_by_the_mean_of_others() -> None:
    cheap = np.zeros(8)
    cheap[3] = 1.0
    worth = np.arange(8.0)
    compared = compare_cheap(cheap[None], worth, np.ones(1))
    assert np.isfinite(compared.errors).all()
    assert compared.errors[0] > 1


@pytest.mark.parametrize(
    ("cheap", "retrained", "message"),
    [
        (np.zeros((2, 8)), np.arange(8.0), "got shapes"),
        (np.zeros((1, 5)), np.arange(5.0), "at least 6 coalitions; got 5"),
        (np.full((1, 8), np.nan), np.arange(8.0), "finite numbers"),
        (np.zeros((1, 8)), np.full(8, 3.0), "of all 8 coalitions are 3"),
    ],
)
def test_impossible_comparisons_are_refused(cheap: np.ndarray, retrained: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_cheap(cheap, retrained, np.ones(1))
