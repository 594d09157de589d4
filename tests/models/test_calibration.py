"""P-values against clean items, and the Benjamini-Hochberg selection: closed forms and uniformity."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from royalty.models.valuation.calibration import clean_p_values, p_values, selected


def test_ranks_among_clean_scores() -> None:
    clean = np.arange(9, dtype=float)
    assert p_values(np.array([-1.0, 0.0, 4.0, 99.0]), clean).tolist() == [0.1, 0.2, 0.6, 1.0]
    assert clean_p_values(clean).tolist() == pytest.approx([(1 + rank) / 9 for rank in range(9)])


@pytest.mark.parametrize("count", [5, 11, 12, 40, 300])
def test_clean_items_are_compared_with_the_others(count: int) -> None:
    clean = np.round(np.random.default_rng(count).normal(size=count), 1)  # with ties
    others = [p_values(clean[row : row + 1], np.delete(clean, row))[0] for row in range(count)]
    np.testing.assert_allclose(clean_p_values(clean), others)
    assert clean_p_values(np.zeros(count)).tolist() == [1] * count


def test_weights_are_copies_of_clean_items() -> None:
    generator = np.random.default_rng(0)
    clean, scores = generator.normal(size=900), generator.normal(size=50)
    twice = np.where(np.arange(900) < 300, 2.0, 1.0)
    copied = p_values(scores, np.concatenate([clean, clean[:300]]))
    np.testing.assert_allclose(p_values(scores, clean, weights=twice), copied, atol=0.005)
    np.testing.assert_allclose(p_values(scores, clean, weights=np.full(900, 7.0)), p_values(scores, clean))
    clean = clean[:9]
    heavy = np.where(np.arange(9) == clean.argmin(), 1e6, 1.0)
    assert p_values(np.array([clean.min()]), clean, weights=heavy)[0] > 0.99


def test_tail_is_exponential_and_continuous() -> None:
    clean = -np.random.default_rng(1).exponential(size=4000)
    points = np.linspace(-12, -3, 10)
    np.testing.assert_allclose(np.log(p_values(points, clean)), points, atol=1.0)
    grid = np.linspace(clean.min() - 2, 0, 20001)
    p = p_values(grid, clean)
    assert (np.diff(p) >= 0).all()
    assert np.diff(np.log(p[p > 0.01])).max() < 0.05
    assert p_values(np.array([-1e9]), clean)[0] > 0


def test_extremes_of_few_clean_scores_are_not_overstated() -> None:
    generator = np.random.default_rng(4)
    lowest = [p_values(-generator.exponential(size=500), -generator.exponential(size=60)).min() for _ in range(2000)]
    assert np.mean(np.array(lowest) < 0.05 / 500) < 0.065


def test_p_values_of_clean_items_are_uniform() -> None:
    generator = np.random.default_rng(2)
    p = p_values(generator.normal(size=3000), generator.normal(size=3000))
    assert kstest(p, "uniform").pvalue > 1e-3
    assert p_values(generator.normal(size=3000) - 1, generator.normal(size=3000)).mean() < 0.35


def test_selection_by_the_step_up_rule() -> None:
    p = np.array([0.04, 0.001, 0.9, 0.012, 0.5])
    assert selected(p, 0.05).tolist() == [False, True, False, True, False]
    assert selected(p, 0.07).tolist() == [True, True, False, True, False], "0.04 <= 0.07 * 3 / 5"
    assert not selected(np.array([0.2, 0.9]), 0.1).any()


def test_false_discoveries_stay_below_the_rate() -> None:
    generator = np.random.default_rng(3)
    realised = []
    for _ in range(200):
        clean = generator.normal(size=500)
        scores = np.concatenate([generator.normal(size=450), generator.normal(-4, size=50)])
        flagged = selected(p_values(scores, clean), 0.1)
        realised.append(flagged[:450].sum() / max(1, flagged.sum()))
    assert 0.05 < np.mean(realised) < 0.11  # 0.1 times the 90% of clean items, and the error of 200 draws
