"""Exact values, and other ways to weigh marginal contributions, on games small enough to enumerate."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.valuation.semivalues import (
    add_one_in,
    banzhaf,
    exact_shapley,
    leave_one_out,
    owen_values,
    permutation_shapley,
)


def random_game(players: int, seed: int = 0):
    table = np.random.default_rng(seed).normal(size=2**players)
    return lambda masks: table[(masks << np.arange(players)).sum(axis=1)]


def by_orders(utility, players: int, orders) -> np.ndarray:
    """Mean marginal contribution over given orders, one at a time."""
    values, orders = np.zeros(players), list(orders)
    for order in orders:
        mask = np.zeros((1, players), bool)
        for player in order:
            before = utility(mask)[0]
            mask[0, player] = True
            values[player] += (utility(mask)[0] - before) / len(orders)
    return values


@pytest.mark.parametrize("players", [1, 2, 5])
def test_exact_values_are_the_mean_over_all_orders(players: int) -> None:
    utility = random_game(players)
    np.testing.assert_allclose(
        exact_shapley(utility, players), by_orders(utility, players, permutations(range(players))), atol=1e-12
    )


def test_exact_values_of_twenty_and_refusal_of_more() -> None:
    worth = np.arange(20.0)
    np.testing.assert_allclose(exact_shapley(lambda masks: masks @ worth, 20), worth, atol=1e-9)
    with pytest.raises(InputError, match="got 21"):
        exact_shapley(lambda masks: masks @ worth, 21)


def test_a_utility_may_give_what_numpy_reads_and_nothing_else() -> None:
    np.testing.assert_allclose(exact_shapley(lambda masks: [int(row.all()) for row in masks], 2), [0.5, 0.5])
    for utility, message in (
        (lambda masks: masks.sum(axis=1)[1:], "got 7 for 8 coalitions"),
        (lambda masks: np.where(masks[:, 1], np.nan, 0.0), r"the coalition of contributors \[1\] has nan"),
        (lambda masks: masks, r"`utility\(masks\)` is a sequence of numbers; got shape \(8, 3\)"),
    ):
        with pytest.raises(InputError, match=message):
            exact_shapley(utility, 3)


def test_permutations_approach_the_exact_values_and_sum_to_the_total() -> None:
    utility = random_game(5)
    values = permutation_shapley(utility, 5, 4000, seed=0)
    np.testing.assert_allclose(values, exact_shapley(utility, 5), atol=0.06)
    total = utility(np.ones((1, 5), bool))[0] - utility(np.zeros((1, 5), bool))[0]
    assert permutation_shapley(utility, 5, 3, seed=1).sum() == pytest.approx(total)


def test_an_order_and_its_reverse_are_exact_for_interactions_of_two() -> None:
    pairs = np.triu(np.random.default_rng(0).normal(size=(6, 6)))

    def utility(masks: np.ndarray) -> np.ndarray:
        return np.einsum("mi,ij,mj->m", masks.astype(float), pairs, masks.astype(float))

    np.testing.assert_allclose(permutation_shapley(utility, 6, 2, seed=0), exact_shapley(utility, 6), atol=1e-12)


def test_banzhaf_is_the_plain_mean_of_marginal_contributions() -> None:
    utility = random_game(4)
    masks = (np.arange(16)[:, None] >> np.arange(4)) & 1 == 1
    expected = [
        np.mean(utility(masks[~masks[:, player]] | (np.arange(4) == player)) - utility(masks[~masks[:, player]]))
        for player in range(4)
    ]
    np.testing.assert_allclose(banzhaf(masks, utility(masks)), expected, atol=1e-12)
    with pytest.raises(InputError, match="contributor 2"):
        banzhaf(masks[masks[:, 2]], np.zeros(8))
    with pytest.raises(InputError, match="coalition 5 has nan"):
        banzhaf(masks, np.where(np.arange(16) == 5, np.nan, 0.0))


def test_leaving_out_and_adding_in() -> None:
    worth = np.array([1.0, 2.0, 4.0])

    def utility(masks: np.ndarray) -> np.ndarray:
        return masks @ worth + 10 * masks[:, :2].all(axis=1)

    np.testing.assert_allclose(leave_one_out(utility, 3), [11, 12, 4])
    np.testing.assert_allclose(add_one_in(utility, 3), worth)


def test_owen_values_divide_credit_among_a_contributors_items() -> None:
    utility, unions = random_game(5), [[0, 3], [1], [2, 4]]
    together = [
        [item for union in outer for item in inner[union]]
        for outer in permutations(range(3))
        for first in permutations(unions[0])
        for last in permutations(unions[2])
        for inner in [{0: first, 1: (1,), 2: last}]
    ]
    expected = by_orders(utility, 5, together)
    np.testing.assert_allclose(owen_values(utility, unions, 6000, seed=0), expected, atol=0.06)

    def between(masks: np.ndarray) -> np.ndarray:
        items = np.zeros((len(masks), 5), bool)
        for index, union in enumerate(unions):
            items[:, union] = masks[:, [index]]
        return utility(items)

    credit = exact_shapley(between, 3)
    np.testing.assert_allclose([expected[union].sum() for union in unions], credit, atol=1e-12)
    divided = owen_values(utility, unions, 50, seed=0, credit=credit)
    np.testing.assert_allclose([divided[union].sum() for union in unions], credit, atol=1e-12)


def test_owen_values_of_single_items_are_shapley_values() -> None:
    worth = np.array([1.0, -2.0, 3.0])
    values = owen_values(lambda masks: masks @ worth, [[0], [1], [2]], 1, seed=0)
    np.testing.assert_allclose(values, worth, atol=1e-12)
    with pytest.raises(InputError, match="exactly one contributor"):
        owen_values(lambda masks: masks @ worth, [[0, 1], [1, 2]], 1, seed=0)
