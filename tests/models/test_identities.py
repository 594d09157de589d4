"""What identities are worth: closed forms of merged and split contributors."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from royalty.models.payout.division import Terms
from royalty.models.payout.identities import merge, overlaps, refit_split, split
from royalty.models.payout.policies import Credit
from royalty.models.valuation.semivalues import exact_shapley

GENERATOR = np.random.default_rng(0)


def test_copies_and_near_copies_are_seen_and_noise_is_not() -> None:
    images = GENERATOR.integers(0, 250, (12, 1, 8, 8), dtype=np.uint8)
    images[8:11] = images[:3] + 2
    membership = np.zeros((12, 4), dtype=bool)
    membership[:6, 0] = membership[6:8, 1] = membership[8:12, 2] = True
    membership[[6, 7, 11], 3] = True  # all of 1's, and an image that 2 has too
    assert overlaps(images, membership) == [(0, 2, 0.75), (1, 3, 1.0)]
    assert overlaps(images, membership, min_share=0.2)[2:] == [(2, 3, pytest.approx(1 / 3))]


def game(n: int, utility: object) -> tuple[np.ndarray, np.ndarray, float, float]:
    masks = np.array(list(product([False, True], repeat=n)))
    values = np.array([utility(mask) for mask in masks])  # type: ignore[operator]
    return masks[1:-1], values[1:-1], values[0], values[-1]


def test_merged_credit_is_that_of_the_game_with_one_player_less() -> None:
    additive = game(4, lambda mask: float(mask @ [1.0, 2.0, 3.0, -1.0]))
    assert merge(*additive, (1, 2)) == pytest.approx(5)
    # Of three who are worth 6 as soon as one is there, each has 2; two of them as one have 3.
    copies = game(3, lambda mask: 6.0 * bool(mask.any()))
    assert merge(*copies, (0, 2)) == pytest.approx(3)
    few = tuple(part[:2] if isinstance(part, np.ndarray) else part for part in additive)
    assert merge(*few, (0, 1)) is None


def test_a_refit_of_a_contributor_in_two_names_is_the_game_of_substitutes() -> None:
    players, table = 5, np.random.default_rng(0).normal(size=2**5)
    masks = (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)
    one, both = refit_split(masks[1:-1], table[1:-1], table[0], table[-1], 2)

    def substitutes(split: np.ndarray) -> np.ndarray:
        merged = split[:, :players].copy()
        merged[:, 2] |= split[:, -1]
        return table[(merged << np.arange(players)).sum(axis=1)]

    twins = exact_shapley(substitutes, players + 1)
    assert one == pytest.approx(exact_shapley(lambda chosen: table[(chosen << np.arange(players)).sum(axis=1)], 5)[2])
    assert both == pytest.approx(twins[2] + twins[-1])
    saturating = 1.0 * masks.any(axis=1)
    one, both = refit_split(masks[1:-1], saturating[1:-1], 0.0, 1.0, 0)
    assert (one, both) == (pytest.approx(1 / 5), pytest.approx(2 / 6)), "equal parts by heads reward a second name"
    assert refit_split(masks[1:4], saturating[1:4], 0.0, 1.0, 0) is None


def test_a_second_name_gains_nothing_by_proportion_and_something_by_heads() -> None:
    credits = {"a": Credit(6, 5, 7), "b": Credit(3, 2, 4), "c": Credit(1, 0.5, 1.5), "d": Credit(-1, -2, 0)}
    assert {row.name: row.combined - row.undivided for row in split(1000, credits, Terms())} == {"a": 0, "b": 0, "c": 0}
    wide = {name: Credit(credit.value, -9, 9) for name, credit in credits.items() if credit.value > 0}
    floored = {row.name: (row.undivided, row.combined) for row in split(1000, credits, Terms(floor=Fraction(1, 5)))}
    assert floored["c"] == (200, 400)
    capped = {row.name: (row.undivided, row.combined) for row in split(1000, credits, Terms(cap=Fraction(2, 5)))}
    assert capped["a"] == (400, 600)
    by_tiers = {row.name: (row.undivided, row.combined) for row in split(1000, wide, Terms(policy="equal-tiers"))}
    assert by_tiers["b"] == (333, 500), "three in a tier become four, of whom two are one"
    sure = {row.name: row.combined < row.undivided for row in split(1000, credits, Terms(policy="lower-bound"))}
    assert sure["a"], "two intervals as wide as before leave less that is sure"
    assert split(1000, credits, Terms(floor=Fraction(1, 3))) == [], "a fourth floor is more than the pool"
    assert split(1000, credits, Terms(disputed=frozenset({"a"})))[0].combined == 600
    headed = split(1000, credits, Terms(equal_share=Fraction(1, 2)))
    assert all(row.combined > row.undivided for row in headed), "a part by head pays each name"
    images = {"a": 3, "b": 2, "c": 1, "d": 4}
    counted = split(1000, credits, Terms(equal_share=Fraction(1, 2), equal_by="image"), images)
    assert all(abs(row.combined - row.undivided) <= 1 for row in counted), "a part by image does not"
