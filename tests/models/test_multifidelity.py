"""Credit corrected by retrained models: exact identities, and intervals that cover the retrained truth."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.judging.fidelity import agreement, leak
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.multifidelity import (
    Utilities,
    as_utilities,
    choose_retrained,
    least_retrained,
    multifidelity_shapley,
)
from royalty.models.valuation.semivalues import exact_shapley

PLAYERS, CHEAP, RETRAINED = 8, 60, 20


def every(players: int) -> np.ndarray:
    return (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)


class TwoGames:
    """A retrained game with substitutes, and a cheap one that is flatter, biased in small coalitions, and off by noise.

    Both are tables over all coalitions; the truth is of the tables, and measurements add noise.
    """

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        masks, worth = every(PLAYERS), self.generator.normal(1, 1, PLAYERS)
        pairs = np.triu(self.generator.normal(0, 0.3, (PLAYERS, PLAYERS)), 1)
        self.true = masks @ worth + np.einsum("si,ij,sj->s", masks.astype(float), pairs, masks.astype(float))
        off = masks @ self.generator.normal(0, 0.3, PLAYERS)
        self.cheap = 0.7 * self.true + 0.4 * (PLAYERS - masks.sum(axis=1)) / PLAYERS + off
        self.shapley = exact_shapley(lambda chosen: self.true[self.codes(chosen)], PLAYERS)

    @staticmethod
    def codes(masks: np.ndarray) -> np.ndarray:
        return (masks << np.arange(PLAYERS)).sum(axis=1)

    def measured(self, table: np.ndarray, masks: np.ndarray, noise: float) -> Utilities:
        noisy = table + noise * self.generator.normal(size=len(table))
        return Utilities(masks, noisy[self.codes(masks)], float(noisy[0]), float(noisy[-1]))


@pytest.mark.parametrize("scaled", [False, True])
def test_intervals_cover_the_retrained_truth(scaled: bool) -> None:
    inside, errors, alone = [], [], []
    for seed in range(40):
        game = TwoGames(seed)
        masks = sample_coalitions(PLAYERS, CHEAP, seed=seed)
        cheap, few = game.measured(game.cheap, masks, 0.1), game.measured(game.true, masks[::2][:RETRAINED], 0.1)
        found = multifidelity_shapley(cheap, few, scaled=scaled)
        inside.append((found.corrected.ci_low <= game.shapley) & (game.shapley <= found.corrected.ci_high))
        errors.append(((found.corrected.values - game.shapley) ** 2).mean())
        alone.append(((found.cheap.values / found.slope - game.shapley) ** 2).mean())
        assert found.corrected.values.sum() == pytest.approx(few.grand - few.null)
    assert 0.93 <= np.mean(inside) <= 1.0
    assert np.mean(errors) < 0.5 * np.mean(alone), "cheap credit alone is biased"


def test_a_correction_needs_fewer_retrained_models_than_credit_from_them_alone() -> None:
    from royalty.models.valuation.shapley import estimate_shapley

    corrected, alone = [], []
    for seed in range(40):
        game = TwoGames(seed)
        masks = sample_coalitions(PLAYERS, CHEAP, seed=seed)
        cheap, few = game.measured(game.cheap, masks, 0.02), game.measured(game.true, masks[::2][:14], 0.02)
        found = multifidelity_shapley(cheap, few, scaled=True).corrected
        own = estimate_shapley(few.masks, few.values, few.null, few.grand, estimator="mixed")
        corrected.append(((found.values - game.shapley) ** 2).mean())
        alone.append(((own.values - game.shapley) ** 2).mean())
    assert np.mean(corrected) < np.mean(alone)


def test_the_same_utilities_need_no_correction() -> None:
    game = TwoGames(0)
    masks = sample_coalitions(PLAYERS, CHEAP, seed=0)
    cheap = game.measured(game.true, masks, 0.0)
    found = multifidelity_shapley(cheap, Utilities(masks[:12], cheap.values[:12], cheap.null, cheap.grand))
    assert found.corrected.values == pytest.approx(found.cheap.values)
    assert found.correction.values == pytest.approx(0, abs=1e-9)
    doubled = Utilities(masks[:12], 2 * cheap.values[:12], 2 * cheap.null, 2 * cheap.grand)
    scaled = multifidelity_shapley(cheap, doubled, scaled=True)
    assert scaled.slope == pytest.approx(2)
    assert scaled.corrected.values == pytest.approx(2 * found.cheap.values)


def test_no_two_retrained_coalitions_are_complements_while_there_are_others() -> None:
    masks = sample_coalitions(PLAYERS, CHEAP, seed=0)
    rows = choose_retrained(masks, 40, seed=0)
    assert len(set(rows.tolist())) == 40
    codes = {mask.tobytes() for mask in masks[rows[:30]]}
    assert not any((~mask).tobytes() in codes for mask in masks[rows[:30]])
    assert np.array_equal(rows, choose_retrained(masks, 40, seed=0))
    with pytest.raises(InputError, match="no 1 of 60 were found"):
        choose_retrained(masks, 1, seed=0)


def test_what_cannot_be_corrected_is_refused() -> None:
    masks = sample_coalitions(PLAYERS, CHEAP, seed=0)
    cheap = as_utilities(masks, np.arange(CHEAP), 0.0, 1.0)
    assert least_retrained(8) == 11
    with pytest.raises(InputError, match="at least 11 retrained coalitions, got 8"):
        multifidelity_shapley(cheap, as_utilities(masks[:8], np.arange(8), 0.0, 1.0))
    known = {mask.tobytes() for mask in masks}
    other = next(mask for mask in every(PLAYERS)[1:-1] if mask.tobytes() not in known)
    with pytest.raises(InputError, match="1 of 11 have none"):
        multifidelity_shapley(cheap, as_utilities(np.vstack([masks[:10], other]), np.arange(11), 0.0, 1.0))
    with pytest.raises(InputError, match="got 8 and 7"):
        multifidelity_shapley(cheap, as_utilities(masks[:0, :7], [], 0.0, 1.0))
    with pytest.raises(InputError, match="given twice"):
        as_utilities(masks[[0, 0]], [1.0, 2.0], 0.0, 1.0)
    with pytest.raises(InputError, match="2 coalitions and 1 utilities"):
        as_utilities(masks[:2], [1.0], 0.0, 1.0)


def test_agreement_of_utilities_and_the_leak_of_absent_classes() -> None:
    retrained = np.array([1.0, 2.0, 3.0, 4.0])
    found = agreement(2 * retrained + 1, retrained)
    assert (found.spearman, found.bias, found.coalitions) == (pytest.approx(1), 3.5, 4)
    assert found.error == pytest.approx(found.spread)
    assert agreement(retrained[:2], retrained[:2]).spearman is None
    assert agreement(np.ones(4), retrained).spearman is None
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.8, 0.1, 0.1]])
    assert leak(probabilities, np.array([True, False, True])) == 0.25
