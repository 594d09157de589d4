"""Credit of members of groups: exact where works add up, and with intervals that cover it."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.grouped import grouped_shapley
from royalty.models.valuation.semivalues import exact_shapley
from royalty.models.valuation.shapley import ShapleyEstimate, estimate_shapley


def of_groups(values: np.ndarray, stderr: float = 0.0) -> ShapleyEstimate:
    noise = np.full(len(values), stderr)
    return ShapleyEstimate(values, noise, values - 2 * noise, values + 2 * noise, 10, {})


def test_a_game_that_adds_up_is_divided_exactly() -> None:
    draw = np.random.default_rng(0)
    groups, worth = draw.permutation(np.arange(12) % 4), draw.uniform(0, 3, 12)
    member = np.eye(4, dtype=bool)[groups]
    quotient = exact_shapley(lambda masks: (masks @ member.T.astype(float)) @ worth, 4)
    credit = grouped_shapley(of_groups(quotient), groups, 10 * worth)
    assert credit.values == pytest.approx(exact_shapley(lambda masks: masks @ worth, 12))
    assert credit.stderr.max() == 0


def test_members_sum_to_their_group_and_nothing_known_is_divided_equally() -> None:
    groups = np.array([0, 1, 1, 0, 1])
    credit = grouped_shapley(of_groups(np.array([6.0, -3.0])), groups, [0, 2, 1, 0, 0])
    assert credit.values.tolist() == [3.0, -2.0, -1.0, 3.0, 0.0]
    assert credit.stderr.tolist() == [0] * 5
    unsure = grouped_shapley(of_groups(np.array([6.0, -3.0])), groups, [0, 2, 1, 0, 0], parts_stderr=[0.1] * 5)
    assert unsure.stderr[[0, 3]].tolist() == [pytest.approx(6 / 8**0.5)] * 2, (
        "nothing is known of that group's division"
    )


@pytest.mark.statistical
def test_intervals_cover_as_often_as_they_say() -> None:
    draw, n_groups, members = np.random.default_rng(1), 6, 50
    groups = np.repeat(np.arange(n_groups), members)
    worth = draw.uniform(1, 3, len(groups))
    sums, covered = np.bincount(groups, worth), []
    for seed in range(60):
        masks = sample_coalitions(n_groups, 24, seed=seed)
        utilities = masks @ sums + draw.normal(0, 5, len(masks))
        measured = estimate_shapley(masks, utilities, 0.0, float(sums.sum()), seed=seed)
        error = 0.2 * worth
        noisy = np.maximum(worth + draw.normal(0, error), 0)
        credit = grouped_shapley(measured, groups, noisy, parts_stderr=error)
        covered.append(((credit.ci_low <= worth) & (worth <= credit.ci_high)).mean())
    assert 0.90 < np.mean(covered) < 0.99


def test_variance_of_a_share_is_that_of_a_simulation() -> None:
    draw, parts, error = np.random.default_rng(2), np.array([5.0, 3.0, 2.0]), np.array([0.2, 0.3, 0.1])
    credit = grouped_shapley(of_groups(np.array([10.0])), np.zeros(3, int), parts, parts_stderr=error)
    drawn = draw.normal(parts, error, (40_000, 3))
    assert credit.stderr == pytest.approx(10 * (drawn / drawn.sum(axis=1, keepdims=True)).std(axis=0), rel=0.03)


@pytest.mark.parametrize(
    ("groups", "parts", "says"),
    [
        ([0, 0], [1.0, 2.0], "each has a member"),
        ([0, 2], [1.0, 2.0], "numbered 0 to 1"),
        ([0, 1], [1.0, -2.0], "at least 0, got -2"),
        ([0, 1, 1], [1.0, 2.0], "arrays of one length"),
    ],
)
def test_what_is_no_grouping_is_refused(groups: list[int], parts: list[float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        grouped_shapley(of_groups(np.array([1.0, 2.0])), groups, parts)
