"""Cooperative games whose Shapley values are known in closed form, at any number of players."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import comb

import numpy as np
from scipy.special import ndtri

Utility = Callable[[np.ndarray], np.ndarray]
"""Coalitions, bool `(m, players)`, to their utilities, float `(m,)`."""


@dataclass(frozen=True, eq=False)
class Game:
    """A utility and the answer to it.

    Attributes:
        utility: vectorised over coalitions; nobody and everybody are coalitions too.
        shapley: `(n_players,)`, in closed form.
        tolerance: how far rounding may carry a computation of `shapley` from the truth.
    """

    name: str
    n_players: int
    utility: Utility
    shapley: np.ndarray
    tolerance: float = 1e-10

    @property
    def spread(self) -> float:
        """Standard deviation of the Shapley values over players: the unit of errors and of noise."""
        return float(self.shapley.std())


def additive(worth: np.ndarray) -> Game:
    """v(S) is the worth of the members; phi is the worth. `worth` is `(n,)`."""
    return Game("additive", len(worth), lambda masks: masks @ worth, worth)


def airport(costs: np.ndarray) -> Game:
    """v(S) is the largest cost in S; each increment is shared by those who need it (Littlechild & Owen 1973)."""
    players = len(costs)
    order = np.argsort(costs)
    increments = np.diff(costs[order], prepend=0.0)
    shapley = np.empty(players)
    shapley[order] = np.cumsum(increments / np.arange(players, 0, -1))
    return Game("airport", players, lambda masks: np.where(masks, costs, 0.0).max(axis=1), shapley)


def symmetric_voting(n_players: int) -> Game:
    """v(S) = 1 for more than half of the players; phi = 1/n."""
    shapley = np.full(n_players, 1 / n_players)
    return Game("symmetric voting", n_players, lambda masks: (2 * masks.sum(axis=1) > n_players).astype(float), shapley)


def weighted_voting(votes: Sequence[int], quota: int) -> Game:
    """v(S) = 1 for coalitions with at least `quota` votes; phi is the Shapley-Shubik index.

    A dynamic programme counts the coalitions of others by size and votes; a player is pivotal in those
    that are short of the quota by no more than the player's own votes.
    """
    players, weights = len(votes), np.array(votes)
    orders = np.array([1 / (players * comb(players - 1, size)) for size in range(players)])
    shapley = np.empty(players)
    for player, own in enumerate(votes):
        counts = np.zeros((players, quota))  # coalitions of others: (size, votes below the quota)
        counts[0, 0] = 1
        for vote in (vote for other, vote in enumerate(votes) if other != player and vote < quota):
            counts[1:, vote:] += counts[:-1, : quota - vote].copy()
        shapley[player] = orders @ counts[:, max(quota - own, 0) :].sum(axis=1)
    return Game("weighted voting", players, lambda masks: (masks @ weights >= quota).astype(float), shapley)


def gloves(left: int, right: int) -> Game:
    """v(S) is the number of pairs; the first `left` players hold a left glove each, the others a right one.

    A left glove adds a pair when more right than left ones came before: phi is the hypergeometric
    chance of that, averaged over the place in the queue.
    """
    players = left + right
    shapley = np.repeat([_adds_a_pair(left - 1, right, players), _adds_a_pair(right - 1, left, players)], [left, right])
    return Game(
        "gloves",
        players,
        lambda masks: np.minimum(masks[:, :left].sum(axis=1), masks[:, left:].sum(axis=1)).astype(float),
        shapley,
    )


def _adds_a_pair(same: int, opposite: int, players: int) -> float:
    ways = (
        comb(same, before) * comb(opposite, wanting) / (players * comb(players - 1, before + wanting))
        for before in range(same + 1)
        for wanting in range(before + 1, opposite + 1)
    )
    return sum(ways)


def unanimity_sum(n_players: int, terms: Sequence[tuple[np.ndarray, np.ndarray]]) -> Game:
    """v(S) = sum of the dividends of sets inside S; phi shares each dividend equally (Harsanyi 1963).

    Args:
        terms: `(sets, dividends)`, one an order k: int `(t, k)` of distinct players, and `(t,)`.
    """
    shapley = np.zeros(n_players)
    for sets, dividends in terms:
        np.add.at(shapley, sets, dividends[:, None] / sets.shape[1])

    def utility(masks: np.ndarray) -> np.ndarray:
        total = np.zeros(len(masks))
        for sets, dividends in terms:
            inside = masks[:, sets[:, 0]]  # (m, t)
            for column in sets.T[1:]:
                inside = inside & masks[:, column]
            total += inside @ dividends
        return total

    return Game("unanimity sum", n_players, utility, shapley)


def jump_from_null(worth: np.ndarray, jump: float, growth: float) -> Game:
    """v(S) = jump for anybody at all + growth sqrt(|S|/n) + worth of the members.

    Size is anonymous, so jump and growth are shared equally: phi = worth + (jump + growth)/n.
    """
    players = len(worth)

    def utility(masks: np.ndarray) -> np.ndarray:
        sizes = masks.sum(axis=1)
        total: np.ndarray = jump * (sizes > 0) + growth * np.sqrt(sizes / players) + masks @ worth
        return total

    return Game("jump from null", players, utility, worth + (jump + growth) / players)


def saturating(reach: np.ndarray, values: np.ndarray) -> Game:
    """v(S) = sum over topics t of value_t (1 - exp(-sum of reach_it over S)): growth that stops.

    With x = exp(-reach), Owen's integral over the share q of others present is
    phi_i = sum_t value_t int_0^1 (1 - x_it) prod_{j != i} (1 - q + q x_jt) dq, a polynomial of degree
    n - 1 in q: Gauss-Legendre with n/2 + 1 nodes is exact.

    Args:
        reach: nonnegative, `(n, topics)`.
        values: `(topics,)`.
    """
    players = len(reach)
    nodes, weights = np.polynomial.legendre.leggauss(players // 2 + 1)
    share = ((nodes + 1) / 2)[:, None, None]  # (nodes, 1, 1)
    missing = np.exp(-reach)  # (n, topics)
    absent = 1 - share + share * missing  # (nodes, n, topics); positive, as every node is below 1
    others = absent.prod(axis=1, keepdims=True) / absent
    shapley = np.einsum("q,qnt,nt,t->n", weights / 2, others, 1 - missing, values)
    return Game("saturating", players, lambda masks: -np.expm1(-(masks @ reach)) @ values, shapley)


def random_additive(n_players: int, seed: int) -> Game:
    """Worth of mean and spread near 1."""
    return additive(np.random.default_rng(seed).exponential(size=n_players))


def random_jump(n_players: int, seed: int) -> Game:
    """Worth of spread near 1, beside a jump of 10 from nobody and 10 more that come with size."""
    return jump_from_null(np.random.default_rng(seed).exponential(size=n_players), jump=10.0, growth=10.0)


def random_interacting(n_players: int, seed: int, highest_order: int = 4, decay: float = 0.4) -> Game:
    """Random sets of up to `highest_order` players, about 6 of each order a player, with diminishing returns.

    Dividends shrink by `decay` an order; in 17 of 20 sets they have the sign of coverage: negative for
    pairs, positive for triples, negative again for fours.
    """
    generator = np.random.default_rng(seed)
    terms = [(np.arange(n_players)[:, None], generator.exponential(size=n_players))]
    for order in range(2, highest_order + 1):
        count = 6 * n_players // order
        sets = generator.random((count, n_players)).argpartition(order - 1, axis=1)[:, :order]
        signs = np.where(generator.random(count) < 0.85, 1.0, -1.0) * (-1.0) ** (order - 1)
        terms.append((sets, decay ** (order - 1) * signs * generator.exponential(size=count)))
    return replace(unanimity_sum(n_players, terms), name="interacting")


def random_three_way(n_players: int, seed: int) -> Game:
    """Worth of spread near 1, and random triples of either sign: about six a player, with dividends of 0.5."""
    generator = np.random.default_rng(seed)
    alone = (np.arange(n_players)[:, None], generator.exponential(size=n_players))
    triples = generator.random((2 * n_players, n_players)).argpartition(2, axis=1)[:, :3]
    game = unanimity_sum(n_players, [alone, (triples, 0.5 * generator.normal(size=len(triples)))])
    return replace(game, name="three-way")


def random_saturating(n_players: int, seed: int, topics: int = 8) -> Game:
    """Contributors to about two topics of eight each, that together reach 95% of what a topic has to give."""
    generator = np.random.default_rng(seed)
    reach = generator.exponential(size=(n_players, topics)) * (generator.random((n_players, topics)) < 0.25)
    reach *= 3 / np.maximum(reach.sum(axis=0), 1e-9)
    values = generator.exponential(size=topics)
    return saturating(reach, values / max(saturating(reach, values).spread, 1e-9))


KINDS: dict[str, Callable[[int, int], Game]] = {
    "additive": random_additive,
    "jump from null": random_jump,
    "interacting": random_interacting,
    "saturating": random_saturating,
}
"""Random games by kind, from a number of players and a seed; Shapley values have a spread near 1."""


def noisy(utility: Utility, n_players: int, deviation: float, seed: int, *, ends: bool = True) -> Utility:
    """The utility with Gaussian noise that is fixed for each coalition, so that it stays a function.

    Noise is a hash of the coalition: the xor of random words of its members, scrambled (splitmix64).

    Args:
        deviation: standard deviation of the noise, in units of the utility.
        ends: whether nobody and everybody are noisy too.
    """
    words = np.random.default_rng(seed).integers(0, 2**64, size=n_players + 1, dtype=np.uint64)

    def measured(masks: np.ndarray) -> np.ndarray:
        key = words[-1] ^ np.bitwise_xor.reduce(np.where(masks, words[:-1], np.uint64(0)), axis=1)
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        uniform = ((key ^ (key >> np.uint64(31))) >> np.uint64(11)) / 2**53 + 2**-54
        noise = deviation * ndtri(uniform)
        if not ends:
            sizes = masks.sum(axis=1)
            noise = np.where((sizes > 0) & (sizes < n_players), noise, 0.0)
        result: np.ndarray = utility(masks) + noise
        return result

    return measured
