"""Who is named a substitute or complement: planted pairs are, others are not, and false names are few."""

from __future__ import annotations

import numpy as np
import pytest

from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.pairs import Pairs
from royalty.models.valuation.sure_pairs import MOST_NAMED, SurePair, find_sure_pairs, half_widths, rejected

NAMES = tuple("abcdefgh")
WORTH = np.array([0.5, 0.5, 0.5, 0.5, 2.0, 1.5, 1.0, 0.3])


def planted(masks: np.ndarray, seed: int, noise: float = 0.2) -> np.ndarray:
    """a and b provide the same, worth 2; c and d need each other, for 2; the rest is additive."""
    a, b, c, d = masks.T[:4].astype(float)
    utilities: np.ndarray = masks @ WORTH + 2 * np.maximum(a, b) + 2 * c * d
    return utilities + noise * np.random.default_rng(seed).normal(size=len(masks))


def test_a_planted_pair_of_duplicates_is_named_and_one_of_complements() -> None:
    masks = sample_coalitions(8, 80, seed=0)
    found = find_sure_pairs(masks, planted(masks, 0), 0.0, WORTH.sum() + 4, NAMES)
    kinds = {(pair.first, pair.second): pair for pair in found.pairs}
    assert set(kinds) == {("a", "b"), ("c", "d")}
    assert kinds["a", "b"].ci_low < -2 < kinds["a", "b"].ci_high < 0
    assert 0 < kinds["c", "d"].ci_low < 2 < kinds["c", "d"].ci_high
    assert found.named == 2
    assert found.tested == 28
    assert abs(found.common) < 0.2
    assert all(map(found.beyond_common, found.pairs))
    assert not found.omitted


def test_an_additive_game_names_nobody() -> None:
    """With 28 pairs a game, some 1.4 intervals of 95% miss zero by chance; at most one game in 20 may name a pair."""
    named = 0
    for seed in range(20):
        masks = sample_coalitions(8, 60, seed=seed)
        utilities = masks @ WORTH + np.random.default_rng(100 + seed).normal(size=60)
        named += find_sure_pairs(masks, utilities, 0.0, WORTH.sum(), NAMES).named > 0
    assert named <= 3  # more have a probability below 2% at one in 20


def estimates(effects: np.ndarray, generator: np.random.Generator, players: int = 20) -> Pairs:
    """Independent estimates of effects, with standard error 1."""
    values = np.zeros((players, players))
    values[np.triu_indices(players, 1)] = effects + generator.normal(size=len(effects))
    shape = values.shape
    return Pairs(values + values.T, np.ones(shape), np.full(shape, 0.01), np.zeros(shape, bool), "")


def test_few_of_the_pairs_that_are_named_are_false_or_missed() -> None:
    generator, upper = np.random.default_rng(0), np.triu_indices(20, 1)
    nothing, some = np.zeros(190), np.where(np.arange(190) < 12, 5.0, 0.0)
    by_chance, plain = [], []
    for _ in range(400):
        estimated = estimates(nothing, generator)
        size = np.abs(estimated.values[upper])
        by_chance.append((size > half_widths(estimated, 1000.0, 0.05)[upper]).any())
        plain.append((size > 1.96).sum())
    assert np.mean(by_chance) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean(plain) == pytest.approx(190 * 0.05, rel=0.1)
    false, missed, hits = [], [], []
    for _ in range(400):
        estimated = estimates(some, generator)
        half = half_widths(estimated, 1000.0, 0.05)[upper]
        named = np.abs(estimated.values[upper]) > half
        false.append((named & (some == 0)).sum() / max(named.sum(), 1))
        missed.append((named & (np.abs(estimated.values[upper] - some) > half)).sum() / max(named.sum(), 1))
        hits.append(named[:12].mean())
    for rates in (false, missed):
        assert np.mean(rates) <= 0.05 + 3 * np.std(rates) / np.sqrt(400)
    assert np.mean(hits) > 0.9


def test_the_procedure_rejects_up_to_the_last_chance_below_its_line() -> None:
    assert rejected(np.array([0.5, 0.04, 0.03, 0.019, 0.012]), 0.05) == 4  # 0.04 <= 4/5 of 0.05, though 0.012 > 1/5
    assert rejected(np.array([0.06, 0.9]), 0.05) == 0


def test_contributors_always_together_are_not_named() -> None:
    masks = sample_coalitions(7, 60, seed=0)
    masks = np.hstack([masks, masks[:, :1]])  # h comes with a
    found = find_sure_pairs(masks, planted(masks, 1), 0.0, WORTH.sum() + 4, NAMES)
    assert ("a", "h") not in {(pair.first, pair.second) for pair in found.pairs}
    assert found.unresolved >= 1


def test_an_interaction_that_all_pairs_share_is_not_beyond_it() -> None:
    masks = sample_coalitions(8, 80, seed=0)
    found = find_sure_pairs(masks, planted(masks, 0), 0.0, WORTH.sum() + 4, NAMES)
    pair = SurePair("a", "b", -0.5, -0.8, -0.2)
    assert found.beyond_common(pair)
    shared = type(found)(common=-0.4)
    assert not shared.beyond_common(pair)
    assert shared.beyond_common(SurePair("a", "b", -0.9, -1.3, -0.5))
    assert shared.beyond_common(SurePair("a", "b", 0.3, 0.1, 0.5))
    assert not type(found)(common=0.2).beyond_common(SurePair("a", "b", 0.3, 0.1, 0.5))


def test_the_strongest_are_kept() -> None:
    """Every contributor is worth less beside any other: all 300 pairs are substitutes, some more than others."""
    players = 25
    masks = sample_coalitions(players, 700, seed=0)
    strength = np.linspace(0.5, 1.5, players)
    both = (masks @ strength) ** 2 - masks @ strength**2
    utilities = 30.0 * masks.sum(axis=1) - both + 0.05 * np.random.default_rng(0).normal(size=700)
    whole = 30.0 * players - (strength.sum() ** 2 - (strength**2).sum())
    found = find_sure_pairs(masks, utilities, 0.0, float(whole), [str(index) for index in range(players)])
    sizes = [abs(pair.value) for pair in found.pairs]
    assert len(sizes) == MOST_NAMED < found.named
    assert sizes == sorted(sizes, reverse=True)
    assert (found.pairs[0].first, found.pairs[0].second) == ("23", "24")
    assert found.common == pytest.approx(-2 * 1.0, rel=0.05)


@pytest.mark.parametrize(
    ("players", "coalitions", "why"),
    [
        (3, 6, "at least 4 contributors, and there are 3"),
        (61, 140, "at most 60 contributors, and there are 61"),
    ],
)
def test_pairs_that_are_not_tested_say_why(players: int, coalitions: int, why: str) -> None:
    masks = sample_coalitions(players, coalitions, seed=0)
    found = find_sure_pairs(masks, masks.sum(axis=1).astype(float), 0.0, float(players), ["x"] * players)
    assert why in found.omitted
    assert found.pairs == ()
    few = sample_coalitions(8, 40, seed=0)[:6]
    assert "there are fewer than 8" in find_sure_pairs(few, few[:, 0], 0, 1, NAMES).omitted
    often = np.repeat(sample_coalitions(8, 40, seed=0), 76, axis=0)
    assert "at most 3,000 measurements, and there are 3,040" in find_sure_pairs(often, often[:, 0], 0, 1, NAMES).omitted
