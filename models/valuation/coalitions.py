"""Choose the coalitions to measure, so that few of them are informative about every contributor."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from math import comb
from typing import get_args

import numpy as np

from royalty.models.base.arrays import as_seed, as_whole
from royalty.models.base.choices import Sizes
from royalty.models.base.errors import InputError, by_name

CANDIDATES = 8
"""Random coalitions of a size from which the most informative is chosen; more gain little."""

_PRIOR_INFORMATION = 0.05
_ENUMERABLE = 20


def masks_of(coalitions: Iterable[Collection[str]], contributors: Sequence[str]) -> np.ndarray:
    """Coalitions by the names of their members as masks over the contributors: bool, `(coalitions, contributors)`."""
    rows = [[name in members for name in contributors] for members in map(frozenset, coalitions)]
    return np.array(rows, dtype=bool).reshape(-1, len(contributors))


def members_of(masks: np.ndarray, contributors: Sequence[str]) -> list[tuple[str, ...]]:
    """The names of the members of each coalition, in the order of the contributors.

    Args:
        masks: bool, `(coalitions, contributors)`.
    """
    names = np.array(contributors)
    return [tuple(names[mask].tolist()) for mask in masks]


def size_distribution(n_players: int, sizes: Sizes) -> np.ndarray:
    """Probability of each size 1..n-1, `(n_players - 1,)`.

    `shapley` is the KernelSHAP distribution, p(k) proportional to 1/(k (n - k)), with which the regression of
    eq. 5 needs no weights. `leverage` is uniform (Musco & Witter 2025): a coalition of medium size is more informative
    about each contributor than a very small or very large one.
    """
    counts = np.arange(1, n_players)
    weights = 1 / (counts * (n_players - counts)) if sizes == "shapley" else np.ones(n_players - 1)
    distribution: np.ndarray = weights / weights.sum()
    return distribution


def size_weights(sizes: np.ndarray, n_players: int) -> np.ndarray:
    """Weights that give coalitions of these sizes, `(m,)`, the KernelSHAP distribution of sizes.

    Neighbouring sizes with too few coalitions are weighted together.
    """
    kinds = np.minimum(sizes, n_players - sizes)
    target = np.zeros(n_players // 2 + 1)
    np.add.at(
        target,
        np.minimum(np.arange(1, n_players), np.arange(n_players - 1, 0, -1)),
        size_distribution(n_players, "shapley"),
    )
    drawn = np.bincount(kinds, minlength=len(target))
    stratum, enough = np.zeros(len(target), dtype=int), min(4, len(sizes))
    for kind in range(len(target) - 1):
        full = drawn[: kind + 1][stratum[: kind + 1] == stratum[kind]].sum() >= enough
        stratum[kind + 1] = stratum[kind] + int(full and drawn[kind + 1 :].sum() >= enough)
    mass, count = np.bincount(stratum, target), np.bincount(stratum, drawn)
    weights: np.ndarray = (mass * len(sizes) / count)[stratum[kinds]]
    return weights


def sample_coalitions(
    n_players: int, n_coalitions: int, *, seed: int, sizes: Sizes = "leverage", paired: bool = True
) -> np.ndarray:
    """Draw distinct coalitions.

    Sizes are a stratified sample of their distribution. Every coalition of a size is equally likely, but draws depend
    on each other: of a few random coalitions, the one that adds most information to the earlier ones is chosen (greedy
    D-optimal design), so that fewer coalitions are needed to distinguish the contributors.

    Args:
        n_players: contributors, 2 or more.
        n_coalitions: at least `2 (n_players - 1)`, with `border` `2 n_players`, and even if paired. If it is at least
            2^n - 2, each of these coalitions is returned once, and the estimate has no sampling error.
        seed: of the draw; the same seed gives the same coalitions.
        sizes: `leverage`, uniform over the sizes 1 to n - 1 (Musco & Witter 2025); `shapley`, the KernelSHAP
            distribution, proportional to 1/(k (n - k)) (Lundberg & Lee 2017); or `border`, every contributor alone,
            everybody without each, and uniform over the sizes between. Use `border` where the first contributor to a
            coalition brings most of its utility.
        paired: whether each coalition is followed by its complement. All effects that a coalition and its complement
            share, including all interactions between two contributors, then cancel. Without interactions, and with
            fewer than about three coalitions per contributor, unpaired coalitions are more informative.

    Returns:
        bool, `(coalitions, n_players)`, without the empty and the grand coalition; if paired, rows 2i and 2i+1 are
        complements.

    Raises:
        InputError: fewer than two players, an odd or too small number of coalitions, or unknown `sizes`.

    Examples:
        Coalitions of six contributors, in pairs of complements:

        >>> import royalty
        >>> masks = royalty.sample_coalitions(6, 12, seed=0)
        >>> masks.shape, masks.dtype
        ((12, 6), dtype('bool'))
        >>> bool((masks[0] == ~masks[1]).all())
        True
    """
    n_players, n_coalitions = as_whole(n_players, "n_players"), as_whole(n_coalitions, "n_coalitions")
    by_name(sizes, dict.fromkeys(get_args(Sizes)), "distribution of sizes")
    check_count(n_players, n_coalitions, paired=paired, sizes=sizes)
    if n_players <= _ENUMERABLE and n_coalitions >= 2**n_players - 2:
        return _all_coalitions(n_players)
    generator = np.random.default_rng(as_seed(seed))
    draws = n_coalitions // 2 if paired else n_coalitions
    drawn = _distinct_masks(_spread_sizes(n_players, draws, sizes, paired, generator), n_players, paired, generator)
    if not paired:
        return drawn
    masks = np.empty((n_coalitions, n_players), dtype=bool)
    masks[::2], masks[1::2] = drawn, ~drawn
    return masks


def check_count(
    n_players: int, n_coalitions: int, *, paired: bool, sizes: Sizes = "leverage", players: str = "contributors"
) -> None:
    """Check that the number of coalitions suffices to distinguish the players.

    Args:
        players: what the message calls them.

    Raises:
        InputError: fewer than two players, or an odd or too small number of coalitions.
    """
    if n_players < 2:
        raise InputError(f"credit is shared between at least 2 {players}, got {n_players}")
    least = 2 * n_players if sizes == "border" and n_players > 2 else 2 * (n_players - 1)
    if n_coalitions < least or (paired and n_coalitions % 2):
        rule = (", an even number" if paired else "") + (", with sizes `border`" if sizes == "border" else "")
        raise InputError(
            f"{n_players} {players} take at least {least} coalitions{rule}, got {n_coalitions}; {4 * n_players} is "
            "a good number to start with"
        )


def _all_coalitions(n_players: int) -> np.ndarray:
    """All coalitions except the empty and the grand one, each followed by its complement, `(2^n - 2, n)`."""
    codes = np.arange(1, 2 ** (n_players - 1))  # without the last player
    half = (codes[:, None] >> np.arange(n_players)) & 1 == 1
    masks = np.empty((2 * len(half), n_players), dtype=bool)
    masks[::2], masks[1::2] = half, ~half
    return masks


def _spread_sizes(n_players: int, draws: int, sizes: Sizes, paired: bool, generator: np.random.Generator) -> np.ndarray:
    """A size for each draw, `(draws,)`: a stratified sample, changed if no distinct coalition of the size is left."""
    border = np.repeat([1] if paired else [1, n_players - 1], n_players) if sizes == "border" else np.empty(0, int)
    between = 1 + int(sizes == "border" and n_players > 3)  # the smallest size that is drawn
    cumulative = np.cumsum(size_distribution(n_players - 2 * (between - 1), sizes))
    spread = draws - len(border)
    positions = (np.arange(spread) + generator.random(spread)) / max(spread, 1)
    drawn = between + np.minimum(np.searchsorted(cumulative, positions), len(cumulative) - 1)
    drawn = np.concatenate([border, drawn])
    # A pair uses up a coalition of a size and one of the complementary size.
    kind = np.minimum(drawn, n_players - drawn) if paired else drawn
    for size in np.unique(kind):
        spare = np.flatnonzero(kind == size)[_available(n_players, int(size), paired) :]
        for draw in spare:
            unused = [
                _available(n_players, other, paired) - int((kind == other).sum())
                for other in range(1, n_players // 2 + 1 if paired else n_players)
            ]
            kind[draw] = drawn[draw] = 1 + int(np.argmax(unused))
    return generator.permutation(drawn)


def _available(n_players: int, size: int, paired: bool) -> int:
    """The number of distinct coalitions, or pairs, of a size."""
    return comb(n_players, size) // (2 if paired and 2 * size == n_players else 1)


def _distinct_masks(sizes: np.ndarray, n_players: int, paired: bool, generator: np.random.Generator) -> np.ndarray:
    """One coalition of each size, `(len(sizes), n_players)`; all distinct, and if paired no two are complements."""
    masks = np.zeros((len(sizes), n_players), dtype=bool)
    taken: set[bytes] = set()
    inverse = np.eye(n_players) / _PRIOR_INFORMATION  # of the information matrix of the coalitions so far
    for row, size in enumerate(sizes):
        candidates = _fresh_candidates(int(size), n_players, taken, generator)
        centred = candidates - size / n_players  # (candidates, n)
        products = centred @ inverse
        gains = (products * centred).sum(axis=1)
        best = int(gains.argmax())
        masks[row] = candidates[best]
        taken.add(np.packbits(masks[row]).tobytes())
        if paired:
            taken.add(np.packbits(~masks[row]).tobytes())
        inverse -= np.outer(products[best], products[best]) / (1 + gains[best])
    return masks


def _fresh_candidates(size: int, n_players: int, taken: set[bytes], generator: np.random.Generator) -> np.ndarray:
    if comb(n_players, size) <= 4 * CANDIDATES:
        every = np.zeros((comb(n_players, size), n_players), dtype=bool)
        for row, members in enumerate(combinations(range(n_players), size)):
            every[row, members] = True
        fresh = every[[np.packbits(mask).tobytes() not in taken for mask in every]]
        return fresh[generator.permutation(len(fresh))[:CANDIDATES]]
    while True:
        order = generator.random((CANDIDATES, n_players)).argpartition(size - 1, axis=1)[:, :size]
        candidates = np.zeros((CANDIDATES, n_players), dtype=bool)
        np.put_along_axis(candidates, order, True, axis=1)
        fresh = candidates[[np.packbits(mask).tobytes() not in taken for mask in candidates]]
        if len(fresh):
            return fresh
