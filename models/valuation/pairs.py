"""Interactions of pairs of contributors in a fitted game, and intervals that hold whatever their distribution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from royalty.models.valuation.interacting import FittedGame

_UNRESOLVED = 0.95
"""Share of its prior standard error above which the measurements tell nothing about a pair."""

_SHARES = np.linspace(0, 0.99, 100)
"""Shares of the prior variance that are left, between which the widening of intervals is interpolated."""


@dataclass(frozen=True)
class Pairs:
    """Interactions, standard errors, the share of the prior variance that is left, and unresolved pairs; `(n, n)`."""

    values: np.ndarray
    stderr: np.ndarray
    left_share: np.ndarray
    unresolved: np.ndarray
    why: str


def pairs_of(fitted: FittedGame, masks: np.ndarray) -> Pairs:
    """Estimate the interactions of all pairs.

    Args:
        masks: the coalitions of the fit, bool, `(m, n)`.
    """
    n_players = masks.shape[1]
    values, stderr = np.zeros((n_players, n_players)), np.full((n_players, n_players), np.inf)
    left = np.ones((n_players, n_players))
    if n_players < 4:
        why = "interactions of pairs need at least 4 contributors"
        return Pairs(values, stderr, left, ~np.eye(n_players, dtype=bool), why)
    rows = fitted.posterior.observed.rows
    for player in range(n_players):
        mean, variance, prior = fitted.evaluate(lambda space, player=player: space.pairs(player, rows))  # type: ignore[misc]
        others = np.arange(n_players) != player
        values[player, others], stderr[player, others] = mean[others], np.sqrt(variance[others])
        left[player, others] = np.minimum(variance[others] / prior[others], 1)
    together = _never_apart(masks)
    values, stderr, left = (values + values.T) / 2, np.maximum(stderr, stderr.T), np.maximum(left, left.T)
    unresolved = together | ((left >= _UNRESOLVED**2) & ~np.eye(n_players, dtype=bool))
    return Pairs(values, stderr, left, unresolved, _why(together, unresolved))


def widening(left_share: np.ndarray, confidence: float) -> np.ndarray:
    """Factor by which intervals of shrunken effects are widened, so that they hold for any distribution of effects.

    Intervals from a normal prior cover too few of the effects that are much larger than most. These cover 95% of all
    effects whatever their distribution, if it has the prior's variance (Armstrong, Kolesar and Plagborg-Moller 2022).

    Args:
        left_share: posterior variance over prior variance, at most 1.

    Returns:
        At least 1, relative to the interval of the posterior.
    """
    widened: np.ndarray = np.interp(left_share, _SHARES, _factors(confidence))
    return widened


@cache
def _factors(confidence: float) -> np.ndarray:
    """The factor for each of `_SHARES`."""
    shrinkage = 1 - _SHARES  # of an estimate, towards the mean
    ratios = _SHARES / shrinkage  # mean squared bias over variance of the shrunken estimate
    critical = np.array([_critical(ratio, 1 - confidence) for ratio in ratios])
    factors: np.ndarray = np.maximum(critical * np.sqrt(shrinkage) / critical[0], 1)
    return factors


def _critical(ratio: float, alpha: float) -> float:
    """The value that |z + b| exceeds with probability alpha at most, for any b with mean square `ratio`."""
    squares = ratio + np.concatenate([[0.0], np.geomspace(1e-3, 1e5, 200)])

    def excess(value: float) -> float:
        misses = ndtr(-value - np.sqrt(squares)) + ndtr(-value + np.sqrt(squares))
        none = 2 * ndtr(-value)
        weights = ratio / np.maximum(squares, np.finfo(float).tiny) if ratio else np.zeros(len(squares))
        return float((none + weights * (misses - none)).max()) - alpha

    return float(brentq(excess, 0.1, 1000))


def _never_apart(masks: np.ndarray) -> np.ndarray:
    """Pairs for which one of the four cases (both, either one, none) has no coalition, bool `(n, n)`."""
    inside, outside = masks.astype(float), (~masks).astype(float)
    cases = [inside.T @ inside, inside.T @ outside, outside.T @ inside, outside.T @ outside]
    missing: np.ndarray = np.min(cases, axis=0) == 0
    np.fill_diagonal(missing, False)
    return missing


def _why(together: np.ndarray, unresolved: np.ndarray) -> str:
    first, second = np.nonzero(np.triu(together))
    if len(first):
        pairs = ", ".join(f"{one} and {other}" for one, other in zip(first[:5], second[:5], strict=True))
        more = f" and {len(first) - 5} more pairs" if len(first) > 5 else ""
        return (
            f"no coalitions tell apart what contributors {pairs}{more} do together and separately: both, either one "
            "and neither must occur"
        )
    count = int(np.triu(unresolved).sum())
    return f"the coalitions are too few or too noisy for {count} pairs" if count else "all pairs are resolved"
