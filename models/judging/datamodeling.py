"""Evaluate credit by retrained models: linear datamodeling score and counterfactuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, comb

import numpy as np
from scipy.stats import rankdata

from royalty.models.base.errors import InputError

MIN_RANKED = 3
"""Smallest number of coalitions for a rank correlation."""


@dataclass(frozen=True)
class DatamodelingScore:
    """How well credit predicts the utility of held-out coalitions of one size.

    Attributes:
        lds: mean over training seeds of the Spearman correlation, in [-1, 1]; higher is better.
        low, high: bootstrap 95% interval over training seeds and coalitions.
        pearson: mean over training seeds of the Pearson correlation.
        bias, error: mean and root mean square of predicted minus actual utility, in units of the utility. Credit can
            rank coalitions of one size well and still be off by the same amount for all of them. None if the utility
            of the empty coalition is unknown, which a prediction needs.
        coalitions, seeds: their numbers.
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
    """Draw distinct coalitions of round(alpha n) contributors uniformly (eq. 10).

    Returns:
        bool, `(coalitions, n_players)`; all possible coalitions if there are fewer than `count`.

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
    """Number of contributors in a held-out coalition: round(alpha n).

    Raises:
        InputError: the coalition would have no contributor or all of them, or there are too few coalitions of its size.
    """
    size = round(alpha * n_players)
    if not 0 < size < n_players:
        raise InputError(
            f"a held-out coalition has at least one contributor and not all; alpha {alpha} of {n_players} gives "
            f"{size}. Choose another alpha"
        )
    if comb(n_players, size) < MIN_RANKED:
        raise InputError(
            f"a rank correlation needs at least {MIN_RANKED} coalitions, and {n_players} contributors have "
            f"{comb(n_players, size)} of size {size}. Choose another alpha, or use more contributors"
        )
    return size


def folds_of(sizes: Sequence[int], folds: int) -> np.ndarray:
    """Fold of each coalition, `(coalitions,)`, from 0; the coalitions of each size are assigned to folds in turn."""
    table, fold = np.asarray(sizes), np.empty(len(sizes), dtype=int)
    for size in np.unique(table):
        same_size = np.flatnonzero(table == size)
        fold[same_size] = np.arange(len(same_size)) % folds
    return fold


def datamodeling_score(
    values: np.ndarray,
    null_utility: float | None,
    masks: np.ndarray,
    utilities: np.ndarray,
    *,
    n_bootstrap: int = 1000,
) -> DatamodelingScore:
    """LDS (Ilyas et al. 2022; eq. 10): rank correlation of predicted and measured utilities of retrained models.

    The predicted utility of a coalition is v(nobody) plus the sum of its members' credit.

    Args:
        values: credit, `(n,)`; higher is more valuable. Or `(coalitions, n)`, the credit that predicts each coalition.
        null_utility: v(nobody), in the game that the credit comes from; used for bias and error only. None if unknown.
        masks: bool, `(coalitions, n)`, all of the same size.
        utilities: `(seeds, coalitions)`, of a model retrained on each coalition with each seed.

    Raises:
        InputError: there are fewer than three coalitions, or their number differs from that of the utilities.
    """
    if len(masks) < MIN_RANKED or utilities.shape[1] != len(masks):
        raise InputError(
            f"a rank correlation needs at least {MIN_RANKED} coalitions with a utility for each seed; got "
            f"{len(masks)} coalitions and utilities of shape {utilities.shape}. Retrain more coalitions"
        )
    predicted = (masks * values).sum(axis=1)  # (coalitions,)
    generator = np.random.default_rng(0)
    seeds, coalitions = utilities.shape
    draws = generator.integers(coalitions, size=(n_bootstrap, coalitions))
    seed_draws = generator.integers(seeds, size=(n_bootstrap, seeds))
    resampled = np.mean(
        [_spearman(predicted[draws], utilities[seed_draws[:, [column]], draws]) for column in range(seeds)], axis=0
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
    """All contributors except those of highest credit: bool, `(n,)`; at least one is removed."""
    mask = np.ones(len(values), dtype=bool)
    mask[np.argsort(-values, kind="stable")[: ceil(share * len(values) - 1e-9)]] = False
    return mask


def only_top(values: np.ndarray, share: float) -> np.ndarray:
    """Only the contributors of highest credit: bool, `(n,)`; at least one."""
    return ~without_top(values, share)


def relative_change(utility: float, whole: float) -> float:
    """(v(S) - v(everybody)) / v(everybody): relative change of the utility from all contributors to S."""
    return (utility - whole) / whole


def _spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Rank correlation of each pair of rows, `(rows,)`; 0 where a row is constant."""
    return _pearson(rankdata(first, axis=1), rankdata(second, axis=1))


def _pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of each pair of rows, `(rows,)`; 0 where a row is constant."""
    first = first - first.mean(axis=1, keepdims=True)
    second = second - second.mean(axis=1, keepdims=True)
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    product: np.ndarray = (first * second).sum(axis=1) / np.where(scale > 0, scale, 1.0)
    return product
