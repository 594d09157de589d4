"""What identities are worth: closed forms of merged and split contributors."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from royalty.models.base.errors import InputError
from royalty.models.payout.division import Terms, divide_pool
from royalty.models.payout.identities import HIGHEST, merge, overlaps, split
from royalty.models.payout.policies import POLICIES, Credit, PolicyName
from royalty.models.payout.splits import closed_form, combined_shares
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.models.valuation.semivalue_estimates import second_name_gains
from royalty.models.valuation.semivalues import exact_shapley

GENERATOR = np.random.default_rng(0)

Utility = Callable[[np.ndarray], np.ndarray]

GAMES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "additive": lambda masks, worth: masks @ worth,
    "concave": lambda masks, worth: np.sqrt(masks @ worth),
    "best member": lambda masks, worth: (masks * worth).max(axis=1),
}
"""Utilities of coalitions, from the worth of members."""


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


def gains_of_substitutes(utility: Utility, players: int) -> np.ndarray:
    """What each player gains by a second name that is a perfect substitute, by all coalitions."""
    alone = exact_shapley(utility, players)
    gains = np.empty(players)
    for player in range(players):

        def with_twin(split: np.ndarray, player: int = player) -> np.ndarray:
            merged = split[:, :players].copy()
            merged[:, player] |= split[:, -1]
            return utility(merged)

        twins = exact_shapley(with_twin, players + 1)
        gains[player] = twins[player] + twins[-1] - alone[player]
    return gains


def test_gains_of_a_second_name_are_those_of_the_game_of_substitutes() -> None:
    players, table = 5, np.random.default_rng(0).normal(size=2**5)
    masks = (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)
    found = second_name_gains(masks[1:-1], table[1:-1], table[0], table[-1])
    expected = gains_of_substitutes(lambda chosen: table[(chosen << np.arange(players)).sum(axis=1)], players)
    assert found.values == pytest.approx(expected)
    saturating = 1.0 * masks.any(axis=1)
    found = second_name_gains(masks[1:-1], saturating[1:-1], 0.0, 1.0)
    assert found.values == pytest.approx(2 / 6 - 1 / 5), "equal parts by heads reward a second name"
    with pytest.raises(InputError, match="contributor 3 is in no coalition"):
        second_name_gains(masks[1:7], saturating[1:7], 0.0, 1.0)


@pytest.mark.parametrize("kind", GAMES)
def test_gains_of_a_second_name_from_sampled_coalitions_are_near_the_truth(kind: str) -> None:
    players, errors, spreads, inside = 8, [], [], []
    for seed in range(4):
        generator = np.random.default_rng(seed)
        worth = generator.gamma(1, size=players) + 0.1
        masks = sample_coalitions(players, 60, seed=seed)

        def utility(chosen: np.ndarray, worth: np.ndarray = worth) -> np.ndarray:
            return GAMES[kind](chosen, worth)

        noise = 0.1 * utility(masks).std()
        grand = float(utility(np.ones((1, players), bool))[0])
        found = second_name_gains(masks, utility(masks) + generator.normal(0, noise, 60), 0.0, grand)
        truth = gains_of_substitutes(utility, players)
        errors.append(((found.values - truth) ** 2).mean())
        spreads.append(exact_shapley(utility, players).var())
        inside.append((found.ci_low <= truth) & (truth <= found.ci_high))
    assert np.mean(errors) < 0.01 * np.mean(spreads)
    assert np.mean(inside) > 0.9


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


@settings(max_examples=150, deadline=None)
@given(
    table=st.lists(st.tuples(st.integers(-4, 12), st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=24),
    policy=st.sampled_from(["proportional", "lower-bound", "equal-tiers"]),
)
def test_shares_of_all_splits_together_are_those_of_one_after_the_other(
    table: list[tuple[int, int, int]], policy: PolicyName
) -> None:
    credits = {f"c{i}": Credit(value, value - down, value + up) for i, (value, down, up) in enumerate(table)}
    assume(any(float(weight) > 0 for weight in POLICIES[policy].weigh(credits).values()))
    pool, terms = 10**6, Terms(policy=policy)
    expected = {row.name: row.combined for row in split(pool, credits, terms)}
    together = dict(zip(credits, combined_shares(pool, credits, terms), strict=True))
    # Where nobody could be paid, a split is left out.
    assert {
        name: share for name, share in together.items() if credits[name].value > 0 and np.isfinite(share)
    } == pytest.approx(expected, abs=2.01)


@pytest.mark.parametrize("policy", ["proportional", "lower-bound", "equal-tiers"])
@pytest.mark.parametrize("bounds", [{"floor": Fraction(1, 500)}, {"cap": Fraction(1, 100)}])
def test_with_bounds_they_are_nearly_so(policy: PolicyName, bounds: dict[str, Fraction]) -> None:
    draw = np.random.default_rng(3)
    credits = {f"c{i}": Credit(v, v - w, v + w) for i, (v, w) in enumerate(draw.gamma(2, 1, (150, 2)).tolist())}
    pool, terms = 10**6, Terms(policy=policy, **bounds)
    together = dict(zip(credits, combined_shares(pool, credits, terms), strict=True))
    some = list(credits)[::30]
    for name in some:
        value = credits[name]
        shift = value.value / 2
        half = Credit(value.value - shift, value.low - shift, value.high - shift)
        others = {other: credit for other, credit in credits.items() if other != name}
        rows = divide_pool(pool, {**others, "one": half, "two": half}, terms).settlements
        assert together[name] == pytest.approx(rows["one"].share + rows["two"].share, rel=0.02, abs=4)


def test_many_splits_take_the_time_of_a_few_sorts() -> None:
    draw = np.random.default_rng(0)
    credits = {f"c{i}": Credit(v, v - w, v + w) for i, (v, w) in enumerate(draw.gamma(2, 1, (3000, 2)).tolist())}
    for policy in POLICIES:
        start = time.process_time()
        terms = Terms(policy=policy)
        rows = split(10**8, credits, terms)
        assert len(rows) == (3000 if closed_form(terms) else HIGHEST)
        assert time.process_time() - start < 10, "dividing anew for each takes minutes"


def test_the_pool_that_is_too_small_for_one_more_floor_has_no_splits() -> None:
    credits = {f"c{i}": Credit(1, 1, 1) for i in range(125)}
    assert split(10**6, credits, Terms(floor=Fraction(1, 125))) == []
