"""Judging credit by models retrained without it: linear datamodeling score and counterfactuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, comb

import numpy as np
from scipy.stats import rankdata

from royalty.models.base.errors import InputError

LEAST_RANKED = 3
"""Coalitions that a ranking tells apart."""


@dataclass(frozen=True)
class DatamodelingScore:
    """How well credit predicts the utility of held-out coalitions of one size.

    Attributes:
        lds: mean over training seeds of the Spearman correlation, in [-1, 1]; higher is better.
        low, high: 95% interval over training seeds and the choice of coalitions.
        pearson: mean over training seeds of the Pearson correlation.
        bias, error: mean and root mean square of predicted less actual utility, in units of the utility.
            Credit can rank coalitions of one size well and be off by the same amount for all of them. None if the
            credit has no utility of nobody, without which it predicts no utility.
        coalitions, seeds: how many.
    """

    lds: float
    low: float
    high: float
    pearson: float
    bias: float | None
    error: float | None
    coalitions: int
    seeds: int


def held_out_coalitions(n_players: int, alpha: float, count: int, *, seed: int) -> np.ndarray:
    """Distinct coalitions of round(alpha n) contributors, each equally likely (eq. 10).

    Returns:
        bool, `(coalitions, n_players)`; all there are, if those are fewer than `count`.

    Raises:
        InputError: see `held_out_size`.
    """
    size = held_out_size(n_players, alpha)
    generator = np.random.default_rng([seed, size])
    masks: dict[bytes, np.ndarray] = {}
    while len(masks) < min(count, comb(n_players, size)):
        mask = np.zeros(n_players, dtype=bool)
        mask[generator.choice(n_players, size, replace=False)] = True
        masks[mask.tobytes()] = mask
    return np.array(list(masks.values()))


def held_out_size(n_players: int, alpha: float) -> int:
    """Contributors in a held-out coalition: round(alpha n).

    Raises:
        InputError: an alpha that leaves nobody or everybody, or fewer coalitions of that size than a ranking takes.
    """
    size = round(alpha * n_players)
    if not 0 < size < n_players:
        raise InputError(
            f"a held-out coalition has some contributors and not all; alpha {alpha} of {n_players} gives {size}. "
            "Choose another alpha"
        )
    if comb(n_players, size) < LEAST_RANKED:
        raise InputError(
            f"a ranking takes at least {LEAST_RANKED} coalitions, and {n_players} contributors have "
            f"{comb(n_players, size)} of {size}. Choose another alpha, or judge credit of more contributors"
        )
    return size


def folds_of(sizes: Sequence[int], folds: int) -> np.ndarray:
    """Fold of each coalition, `(coalitions,)`, from 0: those of one size are dealt out in turn."""
    every, fold = np.asarray(sizes), np.empty(len(sizes), dtype=int)
    for size in np.unique(every):
        own = np.flatnonzero(every == size)
        fold[own] = np.arange(len(own)) % folds
    return fold


def datamodeling_score(
    values: np.ndarray,
    null_utility: float | None,
    masks: np.ndarray,
    utilities: np.ndarray,
    *,
    n_bootstrap: int = 1000,
) -> DatamodelingScore:
    """LDS (Ilyas et al. 2022; eq. 10): does v(nobody) + the sum of members' credit rank retrained models right?

    Args:
        values: `(n,)`, credit; higher is more valuable. Or `(coalitions, n)`, that by which each is predicted.
        null_utility: v(nobody), of the family that the credit comes from; matters to bias and error alone. None if
            the credit comes from no such family.
        masks: bool, `(coalitions, n)`, of one size.
        utilities: `(seeds, coalitions)`, of models retrained on each.

    Raises:
        InputError: fewer than three coalitions, which no ranking tells apart.
    """
    if len(masks) < LEAST_RANKED or utilities.shape[1] != len(masks):
        raise InputError(
            f"a ranking takes at least {LEAST_RANKED} coalitions with one utility each; got {len(masks)} coalitions "
            f"and utilities of shape {utilities.shape}"
        )
    predicted = (masks * values).sum(axis=1)  # (coalitions,)
    generator = np.random.default_rng(0)
    seeds, coalitions = utilities.shape
    chosen = generator.integers(coalitions, size=(n_bootstrap, coalitions))
    trained = generator.integers(seeds, size=(n_bootstrap, seeds))
    resampled = np.mean(
        [_spearman(predicted[chosen], utilities[trained[:, [one]], chosen]) for one in range(seeds)], axis=0
    )
    low, high = np.quantile(resampled, [0.025, 0.975])
    difference = None if null_utility is None else null_utility + predicted - utilities.mean(axis=0)
    return DatamodelingScore(
        lds=float(_spearman(np.tile(predicted, (seeds, 1)), utilities).mean()),
        low=float(low),
        high=float(high),
        pearson=float(_pearson(np.tile(predicted, (seeds, 1)), utilities).mean()),
        bias=None if difference is None else float(difference.mean()),
        error=None if difference is None else float(np.sqrt((difference**2).mean())),
        coalitions=coalitions,
        seeds=seeds,
    )


def without_top(values: np.ndarray, share: float) -> np.ndarray:
    """Everybody but the contributors of highest credit: bool, `(n,)`; at least one is left out."""
    mask = np.ones(len(values), dtype=bool)
    mask[np.argsort(-values, kind="stable")[: ceil(share * len(values) - 1e-9)]] = False
    return mask


def only_top(values: np.ndarray, share: float) -> np.ndarray:
    """The contributors of highest credit alone: bool, `(n,)`; at least one."""
    return ~without_top(values, share)


def relative_change(utility: float, whole: float) -> float:
    """(v(S) - v(everybody)) / v(everybody): what changing the contributors does to the property."""
    return (utility - whole) / whole


def _spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rank correlation of each row, `(rows,)`; 0 where one is constant."""
    return _pearson(rankdata(first, axis=1), rankdata(second, axis=1))


def _pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    product: np.ndarray = (first * second).sum(axis=1) / np.where(scale > 0, scale, 1.0)
    return product
