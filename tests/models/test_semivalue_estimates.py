"""Semivalues as credit: exact where everything is measured, near the truth elsewhere, with intervals that hold it."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.choices import Semivalue
from royalty.models.base.errors import InputError
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.semivalue_estimates import estimate_semivalues, size_probabilities
from royalty.models.valuation.semivalues import exact_shapley
from royalty.models.valuation.shapley import estimate_shapley

KINDS: list[tuple[Semivalue, float, float]] = [
    ("shapley", 1, 1), ("banzhaf", 1, 1), ("beta", 4, 1), ("beta", 1, 4), ("beta", 16, 1),
]  # fmt: skip


def every(players: int) -> np.ndarray:
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


def by_definition(table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Semivalues of a table over all coalitions: the mean over sizes of the mean over coalitions of a size."""
    players = len(weights)
    masks, values = every(players), np.zeros(players)
    for player in range(players):
        codes = np.flatnonzero(~masks[:, player])
        change = table[codes | (1 << player)] - table[codes]
        sizes = masks[codes].sum(axis=1)
        values[player] = sum(weight * change[sizes == size].mean() for size, weight in enumerate(weights))
    return values


@pytest.mark.parametrize(("value", "alpha", "beta"), KINDS)
def test_all_coalitions_give_exact_semivalues(value: Semivalue, alpha: float, beta: float) -> None:
    table = np.random.default_rng(0).normal(size=2**5)
    weights = size_probabilities(value, 5, alpha=alpha, beta=beta)
    assert weights.sum() == pytest.approx(1)
    found = estimate_semivalues(every(5)[1:-1], table[1:-1], table[0], table[-1], value=value, alpha=alpha, beta=beta)
    assert found.diagnostics["estimator"] == "enumeration"
    assert found.values == pytest.approx(by_definition(table, weights))


def test_beta_of_one_and_one_is_shapley_and_banzhaf_is_a_fair_coin() -> None:
    assert size_probabilities("beta", 7) == pytest.approx(size_probabilities("shapley", 7))
    assert size_probabilities("banzhaf", 4) == pytest.approx(np.array([1, 3, 3, 1]) / 8)
    small, large = size_probabilities("beta", 9, alpha=16), size_probabilities("beta", 9, beta=16)
    assert small[0] > 0.6
    assert small == pytest.approx(large[::-1])
    table = np.random.default_rng(1).normal(size=2**5)
    codes = lambda masks: table[(masks << np.arange(5)).sum(axis=1)]  # noqa: E731
    found = estimate_semivalues(every(5)[1:-1], table[1:-1], table[0], table[-1], value="shapley")
    assert found.values == pytest.approx(exact_shapley(codes, 5))
    assert found.diagnostics["efficiency_gap"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("value", "alpha", "beta"), KINDS[:4])
def test_intervals_from_sampled_coalitions_hold_the_truth(value: Semivalue, alpha: float, beta: float) -> None:
    players, inside, errors, spreads = 8, [], [], []
    weights = size_probabilities(value, players, alpha=alpha, beta=beta)
    for seed in range(4):
        generator = np.random.default_rng(seed)
        masks = every(players)
        pairs = np.triu(generator.normal(0, 0.3, (players, players)), 1)
        table = masks @ generator.normal(1, 1, players) + np.einsum("si,ij,sj->s", masks * 1.0, pairs, masks * 1.0)
        table[1:] += 2.0  # the jump from nobody
        truth = by_definition(table, weights)
        chosen = sample_coalitions(players, 60, seed=seed)
        measured = table[(chosen << np.arange(players)).sum(axis=1)] + generator.normal(0, 0.2, 60)
        found = estimate_semivalues(chosen, measured, table[0], table[-1], value=value, alpha=alpha, beta=beta)
        inside.append((found.ci_low <= truth) & (truth <= found.ci_high))
        errors.append(((found.values - truth) ** 2).mean())
        spreads.append(truth.var())
    assert np.mean(inside) > 0.87
    assert np.mean(errors) < 0.05 * np.mean(spreads)


def test_semivalues_of_shapley_weights_are_near_those_of_the_other_estimators() -> None:
    generator, masks = np.random.default_rng(0), sample_coalitions(8, 60, seed=0)
    utilities = masks @ np.arange(8.0) + generator.normal(0, 0.1, 60)
    found = estimate_semivalues(masks, utilities, 0.0, 28.0, value="shapley")
    assert found.values == pytest.approx(estimate_shapley(masks, utilities, 0.0, 28.0).values, abs=0.1)


def test_what_is_no_semivalue_is_refused() -> None:
    for options, says in (
        ({"value": "banshaf"}, "did you mean banzhaf"),
        ({"value": "beta", "alpha": 0.0}, "above 0, got 0.0"),
        ({"value": "beta", "confidence": 1.0}, "between 0 and 1, got 1.0"),
    ):
        with pytest.raises(InputError, match=says):
            estimate_semivalues(every(3)[1:-1], np.arange(6.0), 0.0, 1.0, **options)
