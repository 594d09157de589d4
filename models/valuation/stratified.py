"""Effects of contributors, and interactions, that change with the size of the coalition.

A generator can be good as soon as one contributor trained it. Models of single contributors then differ much, and those
of many contributors hardly: credit is in the small coalitions. The model is

    v(S) = g(|S|) + sum over i of delta_i(|S|) (1[i in S] - |S|/n) + iota(S) + e(S),

with independent levels g; effects delta_i(k), which sum to zero over contributors, from a Gaussian process over the
sizes k; interactions iota, whose variance depends on k, and which a coalition and its complement share in part; and the
noise e of training. Effects explain every game of single contributors, and of all but one, so that interactions are
zero there. The Shapley value of contributor i is (v(grand) - v(empty))/n plus the mean of delta_i(k) over k = 1..n-1
(see `regression`), and has a normal posterior.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from royalty.models.valuation.regression import Fit, Units

DRAWS = 32
"""Draws of the scales over which the posterior is averaged."""

MOST_OF_STRATIFIED = 300
"""Coalitions up to which the scales are found within one to two seconds; the time grows with their third power."""

LEVEL = 10.0
"""Prior standard deviation of g, in standard deviations of the utilities: any level is possible."""

LEAST_NOISE, MOST = 1e-3, 3.0
"""Smallest deviation of the noise, likewise, and logarithm of the largest of all, so that covariances are regular."""

CENTRES = np.array([-1.5, 0, 0, -1.5, 0, 0, 1, 0, -2])
DEVIATIONS = np.array([2, 1.4, 1.4, 2, 1.4, 1.4, 2, 1, 2])
"""Weak normal priors of the scales: logarithms of the spread of effects and of interactions in standard deviations of
the utilities, each with its slopes over log (2 k / n) and log (2 - 2 k / n); of the distance over which effects are
alike; the arctanh of the correlation of complements; and the logarithm of the noise of training."""

LOWEST = np.array([-6, -3, -3, -6, -3, -3, -2, -2, -6])
HIGHEST = np.array([2, 3, 3, 2, 3, 3, 4, 2, 1])
STARTS = ([-1.5, 0, 0, -1.5, 0, 0, 1, 0, -1.5], [-1, -1, 0, -1, -1, 0, 1, 0.2, -3])


@dataclass(frozen=True)
class _Data:
    """Measured coalitions.

    Attributes:
        centred: membership less the share of contributors in the coalition, `(m, n)`.
        response: utilities less their mean, in standard deviations, `(m,)`.
        sizes: `(m,)`.
        partner: the row of the complement, -1 without one, `(m,)`.
        units: deviation of the utilities.
    """

    centred: np.ndarray
    response: np.ndarray
    sizes: np.ndarray
    partner: np.ndarray
    units: float

    @property
    def players(self) -> int:
        return int(self.centred.shape[1])

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows with a complement, and the rows of these, `(paired rows,)` each."""
        rows = np.flatnonzero(self.partner >= 0)
        return rows, self.partner[rows]


@dataclass(frozen=True)
class _Posterior:
    """The posterior of the effects for fixed scales.

    Attributes:
        inverse: of the covariance of the responses, `(m, m)`.
        linear: `(n, m)`, effects = linear @ response.
        variance: `(n,)`, of the effects.
        noise: variance between trainings.
    """

    inverse: np.ndarray
    linear: np.ndarray
    variance: np.ndarray
    noise: float


@dataclass(frozen=True)
class StratifiedFit:
    """A fit with what its choice takes.

    Attributes:
        fit: in the form of the other estimators.
        deviations: `(units,)`, of the errors for units that were left out.
    """

    fit: Fit
    deviations: np.ndarray


def fit_stratified(masks: np.ndarray, utilities: np.ndarray, units: Units) -> StratifiedFit:
    """Effects by size, averaged over the scales by their posterior (Laplace's method with importance weights).

    Args:
        masks: bool, `(m, n)`, distinct coalitions.
        utilities: `(m,)`.
        units: of these coalitions.
    """
    from scipy.optimize import minimize  # takes a second to import

    data = _data(masks, utilities)
    bounds = list(zip(LOWEST, HIGHEST, strict=True))
    found = [minimize(_loss, start, (data,), jac=True, method="L-BFGS-B", bounds=bounds) for start in STARTS]
    best = min(found, key=lambda result: float(result.fun))
    scales, weights = _drawn(best.x, float(best.fun), data)
    mode = _posterior(scales[0], data)
    means, variances, linear = [mode.linear @ data.response], [mode.variance], weights[0] * mode.linear
    for each, weight in zip(scales[1:], weights[1:], strict=True):
        posterior = _posterior(each, data)  # one at a time, because of its large matrix
        means.append(posterior.linear @ data.response)
        variances.append(posterior.variance)
        linear += weight * posterior.linear
    effects = weights @ np.array(means)
    variance = weights @ (np.array(variances) + (np.array(means) - effects) ** 2)
    left_out, deviations = _left_out(mode, data, units)
    paired = units.second >= 0
    second = np.where(paired, linear[:, units.second], 0)
    # Half the variance of a pair's utilities is twice that of half their difference.
    combined = np.hypot(linear[:, units.first], second) * np.where(paired, np.sqrt(2), 1)
    fit = Fit(
        effects=(effects - effects.mean()) * data.units,
        variance=variance * data.units**2,
        linear=combined,
        residual=left_out * data.units,
        left_out=left_out * data.units,
        predicted=units.response - left_out * data.units,
        freedom=max(len(utilities) - len(np.unique(data.sizes)), 1.0),
        condition=float(np.linalg.cond(mode.inverse)),
        noise=mode.noise * data.units**2 / (2 if units.paired else 1),
    )
    return StratifiedFit(fit, deviations * data.units)


def _data(masks: np.ndarray, utilities: np.ndarray) -> _Data:
    rows = {mask.tobytes(): row for row, mask in enumerate(masks)}
    partner = np.array([rows.get((~mask).tobytes(), -1) for mask in masks])
    sizes = masks.sum(axis=1)
    units = float(utilities.std()) or 1.0
    return _Data(masks - sizes[:, None] / masks.shape[1], (utilities - utilities.mean()) / units, sizes, partner, units)


def _spreads(scales: np.ndarray, sizes: np.ndarray, players: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of effects and of interactions at sizes, `(sizes,)` each."""
    slopes = _slopes(sizes, players)
    left = np.array([1 - (players - 1) / (comb(players, int(size)) - 1) for size in sizes])
    interactions = np.exp(np.minimum(scales[3:6] @ slopes, MOST)) * np.sqrt(np.maximum(left, 0))
    return np.exp(np.minimum(scales[:3] @ slopes, MOST)), interactions


def _slopes(sizes: np.ndarray, players: int) -> np.ndarray:
    """What the logarithms of spreads are linear in, zero for half of the contributors, `(3, sizes)`."""
    return np.stack([np.ones(len(sizes)), np.log(2 * sizes / players), np.log(2 - 2 * sizes / players)])


def _alike(scales: np.ndarray, first: np.ndarray, second: np.ndarray, players: int) -> np.ndarray:
    """Correlations of effects at sizes, `(first, second)`: they fall with the distance of the sizes' log odds."""
    odds = [np.log(sizes / (players - sizes)) for sizes in (first, second)]
    correlation: np.ndarray = np.exp(-np.abs(odds[0][:, None] - odds[1]) * np.exp(-scales[6]))
    return correlation


def _effects_covariance(scales: np.ndarray, data: _Data) -> tuple[np.ndarray, np.ndarray]:
    """The part of the covariance that effects cause, `(m, m)`, and the spread of interactions, `(m,)`."""
    effects, interactions = _spreads(scales, data.sizes, data.players)
    alike = _alike(scales, data.sizes, data.sizes, data.players)
    return (data.centred @ data.centred.T) * np.outer(effects, effects) * alike, interactions


def _covariance(scales: np.ndarray, data: _Data) -> np.ndarray:
    """Covariance of the responses, `(m, m)`."""
    covariance, interactions = _effects_covariance(scales, data)
    covariance += LEVEL**2 * (data.sizes[:, None] == data.sizes)
    covariance[np.diag_indices(len(interactions))] += interactions**2 + np.exp(2 * scales[8]) + LEAST_NOISE**2
    rows, partners = data.pairs
    covariance[rows, partners] += np.tanh(scales[7]) * interactions[rows] * interactions[partners]
    return covariance


def _loss(scales: np.ndarray, data: _Data) -> tuple[float, np.ndarray]:
    """-log of the posterior density of the scales, up to a constant, and its gradient, `(scales,)`."""
    inverse, log_root = _inverted(_covariance(scales, data))
    weighted = inverse @ data.response
    standard = (scales - CENTRES) / DEVIATIONS
    loss = 0.5 * data.response @ weighted + log_root + 0.5 * (standard**2).sum()
    # The derivative by the covariance is half of this, entry by entry.
    slope = inverse - np.outer(weighted, weighted)
    effects, interactions = _effects_covariance(scales, data)
    by_effects = slope * effects
    rows, partners = data.pairs
    correlation = np.tanh(scales[7])
    crossed = slope[rows, partners] * interactions[rows] * interactions[partners]  # (paired rows,)
    by_interactions = np.diag(slope) * interactions**2
    by_interactions[rows] += correlation * crossed
    odds = np.log(data.sizes / (data.players - data.sizes))
    distance = np.abs(odds[:, None] - odds) * np.exp(-scales[6])
    slopes = _slopes(data.sizes, data.players)
    gradient = np.concatenate(
        [
            slopes @ (by_effects.sum(axis=1) * (scales[:3] @ slopes < MOST)),
            slopes @ (by_interactions * (scales[3:6] @ slopes < MOST)),
            [0.5 * (by_effects * distance).sum(), 0.5 * crossed.sum() * (1 - correlation**2)],
            [np.trace(slope) * np.exp(2 * scales[8])],
        ]
    )
    return float(loss), gradient + standard / DEVIATIONS


def _inverted(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """The inverse, `(m, m)`, and half the logarithm of the determinant."""
    from scipy.linalg.lapack import dpotrf, dpotri

    factor, failed = dpotrf(covariance, lower=1)
    if failed:
        raise np.linalg.LinAlgError(f"a covariance of {len(covariance)} utilities is singular at row {failed}")
    half, _ = dpotri(factor, lower=1)
    return np.tril(half) + np.tril(half, -1).T, float(np.log(np.diag(factor)).sum())


def _drawn(mode: np.ndarray, least: float, data: _Data) -> tuple[np.ndarray, np.ndarray]:
    """Scales, `(draws, scales)`, the mode first, and their weights, which sum to one."""
    curvature = _curvature(mode, data)
    values, vectors = np.linalg.eigh(curvature)
    root = vectors / np.sqrt(np.maximum(values, 0.25))  # deviations of at most 2, that of the widest prior
    normal = np.random.default_rng(0).standard_normal((DRAWS // 2, len(mode)))
    steps = np.vstack([np.zeros(len(mode)), normal, -normal])
    scales = mode + steps @ root.T
    kept = ((scales >= LOWEST) & (scales <= HIGHEST)).all(axis=1)
    kept[0] = True
    scales, steps = scales[kept], steps[kept]
    log = np.array([least - _loss(each, data)[0] for each in scales]) + 0.5 * (steps**2).sum(axis=1)
    weights = np.exp(log - log.max())
    return scales, weights / weights.sum()


def _curvature(mode: np.ndarray, data: _Data, step: float = 0.02) -> np.ndarray:
    """Second derivatives of the loss at its minimum, by differences of gradients, `(scales, scales)`."""
    moves = np.eye(len(mode)) * step
    rows = np.array([_loss(mode + move, data)[1] - _loss(mode - move, data)[1] for move in moves])
    curvature: np.ndarray = (rows + rows.T) / (4 * step)
    return curvature


def _posterior(scales: np.ndarray, data: _Data) -> _Posterior:
    players = data.players
    inverse, _ = _inverted(_covariance(scales, data))
    every = np.arange(1, players)
    at_sizes, _ = _spreads(scales, every, players)
    at_rows, _ = _spreads(scales, data.sizes, players)
    shared = (at_sizes[:, None] * _alike(scales, every, data.sizes, players)).mean(axis=0) * at_rows  # (m,)
    covariance = data.centred.T * shared  # (n, m), of effects and responses
    linear = covariance @ inverse
    prior = (np.outer(at_sizes, at_sizes) * _alike(scales, every, every, players)).mean() * (1 - 1 / players)
    variance = np.maximum(prior - (linear * covariance).sum(axis=1), 0)
    return _Posterior(inverse, linear, variance, float(np.exp(2 * scales[8])))


def _left_out(posterior: _Posterior, data: _Data, units: Units) -> tuple[np.ndarray, np.ndarray]:
    """Errors for units left out, and their standard deviations, `(units,)` each: of half differences within pairs."""
    weighted = posterior.inverse @ data.response
    errors, deviations = np.empty(len(units.first)), np.empty(len(units.first))
    for unit, (first, second) in enumerate(zip(units.first, units.second, strict=True)):
        rows = [first] if second < 0 else [first, second]
        spread = np.linalg.inv(posterior.inverse[np.ix_(rows, rows)])
        contrast = np.array([1.0]) if second < 0 else np.array([0.5, -0.5])
        errors[unit] = contrast @ spread @ weighted[rows]
        deviations[unit] = np.sqrt(contrast @ spread @ contrast)
    return errors, deviations
