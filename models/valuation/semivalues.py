"""Exact Shapley values of small games, and other weightings of marginal contributions: Banzhaf, Owen, leave-one-out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_vector, as_whole
from royalty.models.base.errors import InputError

Utility = Callable[[np.ndarray], np.ndarray]
"""v of each coalition: bool `(m, n)` to float `(m,)`; higher is better."""

MOST_EXACT = 20
"""Largest number of contributors for exact values, which evaluate 1,048,576 coalitions."""

CHUNK = 2**16
"""Coalitions passed to the utility at once; their masks take at most 1.3 MB."""


def exact_shapley(utility: Callable[[np.ndarray], ArrayLike], n_players: int) -> np.ndarray:
    """Compute Shapley values by definition, over all 2^n coalitions.

    phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))   (Shapley 1953).

    Args:
        utility: v of coalitions, from bool `(m, n_players)` to `(m,)`, in any unit; higher is better. Called with at
            most 65,536 coalitions at once, the empty and the grand coalition included.
        n_players: contributors, from 1 to 20.

    Returns:
        float64, `(n_players,)`, in units of the utility; higher is more valuable. They sum to
        v(grand coalition) - v(empty coalition), and are exact up to rounding.

    Raises:
        InputError: more than 20 players, or none; a utility that is not finite, or not one for each coalition.

    Examples:
        Two gloves make a pair, and the first contributor holds the only left one:

        >>> import royalty
        >>> credit = royalty.exact_shapley(lambda masks: masks[:, 0] & masks[:, 1:].any(axis=1), 3)
        >>> credit.round(4).tolist()
        [0.6667, 0.1667, 0.1667]
    """
    n_players = as_whole(n_players, "n_players")
    if not callable(utility):
        raise InputError(
            f"`utility` is a function of coalitions; got a {type(utility).__name__}. Give a function from masks, "
            "(m, n_players), to numbers, (m,); `estimate_shapley` takes utilities that are measured already"
        )
    if not 1 <= n_players <= MOST_EXACT:
        raise InputError(
            f"exact values need all 2^n coalitions, for 1 to {MOST_EXACT} contributors; got {n_players}. "
            "Use `estimate_shapley` on sampled coalitions"
        )
    starts = range(0, 2**n_players, CHUNK)
    utilities = np.concatenate([_utilities(utility, start, n_players) for start in starts])  # by code, (2^n,)
    sizes = np.bitwise_count(np.arange(2**n_players))
    shares = np.array([1 / (n_players * comb(n_players - 1, size)) for size in range(n_players)])
    values = np.empty(n_players)
    for player in range(n_players):
        # A bit of the code is set for each member; the middle axis is without the player at 0, and with it at 1.
        both = utilities.reshape(-1, 2, 1 << player)
        weights = shares[sizes.reshape(both.shape)[:, 0]]
        values[player] = (weights * (both[:, 1] - both[:, 0])).sum()
    return values


def _utilities(utility: Callable[[np.ndarray], ArrayLike], start: int, n_players: int) -> np.ndarray:
    """v of the coalitions with codes from `start`, whose bits are the members."""
    codes = np.arange(start, min(start + CHUNK, 2**n_players))
    masks = (codes[:, None] >> np.arange(n_players)) & 1 == 1  # (m, n)
    utilities = as_vector(utility(masks), "utility(masks)")
    if utilities.shape != (len(masks),):
        raise InputError(
            f"a utility gives one number a coalition: got {len(utilities)} for {len(masks)} coalitions. Take masks of "
            "all of them, and give an array"
        )
    for row in np.flatnonzero(~np.isfinite(utilities)):
        members = np.flatnonzero(masks[row]).tolist()
        raise InputError(
            f"a utility is a finite number; the coalition of contributors {members} has {utilities[row]}. Give every "
            "coalition a number, nobody too"
        )
    return utilities


def permutation_shapley(utility: Utility, n_players: int, n_permutations: int, *, seed: int) -> np.ndarray:
    """Mean marginal contribution over random orders, each followed by its reverse (Castro et al. 2009).

    Evaluates n + 1 coalitions an order. Exact for games of interactions between at most two contributors.

    Args:
        n_permutations: orders, at least 1; half of them are reverses.

    Returns:
        `(n_players,)`; they sum to v(everybody) - v(nobody).
    """
    if n_permutations < 1:
        raise InputError(f"at least one permutation is drawn, got {n_permutations}")
    generator = np.random.default_rng(seed)
    return _mean_over_orders(utility, n_players, n_permutations, lambda: generator.permutation(n_players))


def banzhaf(masks: np.ndarray, utilities: np.ndarray) -> np.ndarray:
    """Banzhaf values by maximum sample reuse (Wang & Jia 2023): mean utility with minus mean utility without.

    Args:
        masks: bool, `(m, n)`, in which each contributor is present independently with probability one half.
        utilities: `(m,)`.

    Returns:
        `(n,)`; higher is more valuable; their sum has no meaning.

    Raises:
        InputError: lengths differ, a utility is not finite, or a contributor is in no coalition or in all.
    """
    if len(masks) != len(utilities):
        raise InputError(f"one utility a coalition: got {len(masks)} coalitions and {len(utilities)} utilities")
    for row in np.flatnonzero(~np.isfinite(utilities)):
        raise InputError(f"a utility is a finite number; coalition {row} has {utilities[row]}. Measure it again")
    present = masks.sum(axis=0)
    for player in np.flatnonzero((present == 0) | (present == len(masks))):
        raise InputError(
            f"each contributor is in some coalitions and not in others; contributor {player} is in "
            f"{present[player]} of {len(masks)}. Draw more coalitions"
        )
    absent = len(masks) - present
    values: np.ndarray = masks.T @ utilities / present - (~masks).T @ utilities / absent
    return values


def leave_one_out(utility: Utility, n_players: int) -> np.ndarray:
    """v(everybody) - v(everybody but i), `(n,)` (eq. 11); evaluates n + 1 coalitions."""
    everybody = np.ones((1, n_players), dtype=bool)
    utilities = utility(np.vstack([everybody, ~np.eye(n_players, dtype=bool)]))
    values: np.ndarray = utilities[0] - utilities[1:]
    return values


def add_one_in(utility: Utility, n_players: int) -> np.ndarray:
    """v(i alone) - v(nobody), `(n,)`; evaluates n + 1 coalitions."""
    nobody = np.zeros((1, n_players), dtype=bool)
    utilities = utility(np.vstack([nobody, np.eye(n_players, dtype=bool)]))
    values: np.ndarray = utilities[1:] - utilities[0]
    return values


def owen_values(
    utility: Utility, unions: Sequence[Sequence[int]], n_orders: int, *, seed: int, credit: np.ndarray | None = None
) -> np.ndarray:
    """Owen values: credit of items whose contributors act as unions (Owen 1977).

    The mean marginal contribution over random orders in which a contributor's items stay together, each
    order followed by its reverse. A contributor's items sum to that contributor's mean marginal contribution
    in the same orders, an estimate of the Shapley value of the game between contributors.

    Args:
        utility: v of sets of items, bool `(m, items)`.
        unions: for each contributor, the items provided; every item is in exactly one union.
        n_orders: at least 1; each evaluates items + 1 sets.
        credit: `(contributors,)`, an estimate of the contributors' credit to be divided: the difference from a
            contributor's sum is spread equally over that contributor's items.

    Returns:
        `(items,)`. With `credit`, a contributor's items sum to it; otherwise all items sum to
        v(all items) - v(no item).

    Raises:
        InputError: an item in no union or in several.
    """
    items = np.concatenate([np.asarray(union, dtype=int) for union in unions])
    if not np.array_equal(np.sort(items), np.arange(len(items))):
        raise InputError(
            f"each item belongs to exactly one contributor, items 0 to {len(items) - 1}; got {items.tolist()}. "
            "Give a shared item to one of them, or make it a contributor of its own"
        )
    if n_orders < 1:
        raise InputError(f"at least one order is drawn, got {n_orders}")
    generator = np.random.default_rng(seed)

    def draw() -> np.ndarray:
        return np.concatenate([generator.permutation(unions[union]) for union in generator.permutation(len(unions))])

    values = _mean_over_orders(utility, len(items), n_orders, draw)
    if credit is not None:
        for union, whole in zip(unions, credit, strict=True):
            values[list(union)] += (whole - values[list(union)].sum()) / len(union)
    return values


def _mean_over_orders(utility: Utility, n: int, n_orders: int, draw: Callable[[], np.ndarray]) -> np.ndarray:
    """Mean marginal contribution, `(n,)`, over drawn orders, each followed by its reverse."""
    total = np.zeros(n)
    first = np.arange(n) < np.arange(n + 1)[:, None]  # (n + 1, n): the first 0, 1, ... n of an order
    drawn = [draw() for _ in range(-(-n_orders // 2))]
    for order in [order for forward in drawn for order in (forward, forward[::-1])][:n_orders]:
        joined = np.empty_like(first)
        joined[:, order] = first
        total[order] += np.diff(utility(joined))
    return total / n_orders
