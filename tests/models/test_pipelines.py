"""Credit over pipelines: closed forms, laws, and how often intervals hold a rerun."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from royalty.models.base.errors import InputError
from royalty.models.valuation.pipelines import combine_pipelines
from royalty.models.valuation.shapley import ShapleyEstimate


def estimate(values: np.ndarray, stderr: np.ndarray, freedom: float = 30.0) -> ShapleyEstimate:
    return ShapleyEstimate.about(
        np.asarray(values, float),
        np.asarray(stderr, float),
        freedom=freedom,
        confidence=0.95,
        n_evaluations=10,
        diagnostics={"efficiency_gap": 0.0, "condition_number": 2.0, "estimator": "mixed", "why": "asked for"},
    )


def drawn(seed: int, pipelines: int, players: int, *, between: float) -> list[ShapleyEstimate]:
    """Pipelines of noise 1 with effects of a standard deviation, half of them the same for all contributors."""
    rng = np.random.default_rng(seed)
    alike, apart = rng.normal(size=(pipelines, 1)), rng.normal(size=(pipelines, players))
    values = between * (alike + apart) / np.sqrt(2) + rng.normal(size=(pipelines, players))
    return [estimate(row, np.ones(players)) for row in values]


def test_equal_pipelines_have_the_interval_of_their_pooled_estimate() -> None:
    one = estimate(np.array([3.0, 1.0, 2.0]), np.array([0.4, 0.2, 0.3]))
    combined = combine_pipelines([one] * 4)
    assert combined.deviation == 0
    assert combined.credit.values == pytest.approx(one.values)
    assert combined.credit.stderr == pytest.approx(one.stderr / 2)
    assert combined.credit.ci_high - one.values == pytest.approx((one.ci_high - one.values) / 2)
    assert combined.rerun_low == pytest.approx(one.values - np.sqrt(2) * (one.values - combined.credit.ci_low))
    assert combined.noise == pytest.approx(np.sqrt((0.16 + 0.04 + 0.09) / 3))
    assert combined.credit.n_evaluations == 40


def test_without_noise_what_moves_all_alike_has_one_degree_of_freedom() -> None:
    """Two pipelines that differ by a constant: the interval of the mean of two numbers."""
    combined = combine_pipelines([estimate(np.arange(5) + shift, np.zeros(5)) for shift in (0.0, 2.0)])
    assert combined.deviation == pytest.approx(np.sqrt(2))
    assert combined.credit.stderr == pytest.approx(np.ones(5))
    assert combined.credit.ci_high - combined.credit.values == pytest.approx(np.full(5, stdtrit(1, 0.975)))


def test_what_moves_contributors_apart_has_the_degrees_of_all_of_them() -> None:
    apart = np.array([1.0, -1.0, 2.0, -2.0])
    combined = combine_pipelines([estimate(sign * apart, np.zeros(4)) for sign in (1.0, -1.0)])
    # Three directions other than that of all alike, whose variance is 0: (3 v)^2 / (3 v^2) = 3.
    assert combined.deviation**2 == pytest.approx(2 * (apart**2).mean())
    reach = combined.credit.ci_high - combined.credit.values
    assert reach / combined.credit.stderr == pytest.approx(np.full(4, stdtrit(3, 0.975)))


def test_deviation_is_what_noise_does_not_explain() -> None:
    pipelines = drawn(1, 400, 10, between=2.0)
    combined = combine_pipelines(pipelines)
    assert combined.deviation == pytest.approx(2.0, rel=0.05)
    assert combined.credit.stderr == pytest.approx(np.full(10, np.sqrt(5 / 400)), rel=0.05)


@given(st.integers(0, 1000), st.integers(2, 5), st.integers(2, 8), st.sampled_from([0.0, 1.0, 3.0]))
def test_laws(seed: int, pipelines: int, players: int, between: float) -> None:
    """Credits sum to the mean total, contributors and pipelines may be in any order, and units do not matter."""
    given_ = drawn(seed, pipelines, players, between=between)
    combined, rng = combine_pipelines(given_), np.random.default_rng(seed)
    assert combined.credit.values.sum() == pytest.approx(np.mean([each.values.sum() for each in given_]), abs=1e-9)
    assert (combined.credit.stderr >= np.sqrt(1 / pipelines) - 1e-12).all(), "not below the noise of the pipelines"
    order = rng.permutation(players)
    other = combine_pipelines([estimate(each.values[order], each.stderr[order]) for each in given_[::-1]])
    scaled = combine_pipelines([estimate(1e-9 * each.values, 1e-9 * each.stderr) for each in given_])
    for name in ("values", "stderr", "ci_low", "ci_high"):
        expected = getattr(combined.credit, name)
        assert getattr(other.credit, name) == pytest.approx(expected[order])
        assert getattr(scaled.credit, name) == pytest.approx(1e-9 * expected, abs=1e-15)
    assert other.rerun_high == pytest.approx(combined.rerun_high[order])


@pytest.mark.parametrize("players", [6, 12, 40])
@pytest.mark.parametrize("pipelines", [2, 3, 5])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 2.0])
def test_intervals_hold_the_mean_and_a_rerun(players: int, pipelines: int, ratio: float) -> None:
    """In 93 to 97 of 100 cases, as far as 400 of them tell; with no variation between pipelines, a little more."""
    held, again = [], []
    for seed in range(400):
        first = combine_pipelines(drawn(2 * seed, pipelines, players, between=np.sqrt(ratio)))
        second = combine_pipelines(drawn(2 * seed + 1, pipelines, players, between=np.sqrt(ratio)))
        held.append(((first.credit.ci_low <= 0) & (first.credit.ci_high >= 0)).mean())
        inside = (first.rerun_low <= second.credit.values) & (second.credit.values <= first.rerun_high)
        again.append(inside.mean())
    for shares in (held, again):
        error = np.std(shares, ddof=1) / np.sqrt(len(shares))
        assert 0.93 - 2 * error < np.mean(shares) < (0.97 if ratio else 0.985) + 2 * error


def test_the_interval_of_one_pipeline_does_not_hold_a_rerun() -> None:
    held = []
    for seed in range(200):
        one, other = drawn(seed, 2, 12, between=2.0)
        reach = np.sqrt(2) * (one.ci_high - one.values)
        held.append((abs(one.values - other.values) <= reach).mean())
    assert np.mean(held) < 0.75


def test_bad_input_is_refused() -> None:
    one = estimate(np.array([1.0, 2.0]), np.array([0.1, 0.1]))
    for pipelines, says in (
        ([one], "two or more, got 1"),
        ([], "two or more, got 0"),
        ([one, estimate(np.ones(3), np.ones(3))], "2 and 3 contributors"),
        ([estimate(np.ones(1), np.ones(1))] * 2, "at least 2 contributors, got 1"),
        ([one, replace(one, stderr=np.array([np.nan, 0.1]))], "those of pipeline 1 are not"),
    ):
        with pytest.raises(InputError, match=says):
            combine_pipelines(pipelines)
    with pytest.raises(InputError, match="lies between 0 and 1, got 95"):
        combine_pipelines([one, one], confidence=95)
