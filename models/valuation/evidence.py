"""Estimate the variance components of a game by evidence.

The variances, the noise and its slope over sizes maximize the restricted likelihood (the trend is integrated out) times
a weak log-normal prior, which prefers small interactions where the measurements do not decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cholesky, lapack, qr
from scipy.optimize import minimize

from royalty.models.valuation.covariances import EVEN_SIZES, LINEAR, ODD_SIZES, QUADRATIC, Rows, Space

MOST_FITTED = 140
"""Rows of each parity from which the variances are estimated; more change them little and take the cube of the time."""

NUGGET = 1e-10
"""Smallest noise variance, relative to that of the utilities, so that matrices can be inverted."""

_CENTRES = {
    **dict(zip((f"order {order}" for order in range(1, 7)), (0.5, 0.03, 0.003, 0.001, 1e-4, 1e-4), strict=True)),
    LINEAR: 0.01,
    QUADRATIC: 0.003,
    ODD_SIZES: 0.003,
    EVEN_SIZES: 0.003,
}
"""Medians of the prior variances, relative to the variance of the utilities."""

_NOISE_CENTRE, _NOISE_WIDTH, _SLOPE_WIDTH = 0.1, 4.0, 0.5
_MAIN_WIDTH, _WIDTH = 2.0, 3.0  # standard deviations of the logarithms


@dataclass(frozen=True)
class Observations:
    """Measured utilities as rows of one parity, or of both where no complement was measured.

    Attributes:
        rows: what each row combines.
        response: `(rows,)`.
        noise: `(rows,)`, variance relative to that of a utility.
        blocks: positions of rows that depend on each other.
    """

    rows: Rows
    response: np.ndarray
    noise: np.ndarray
    blocks: tuple[np.ndarray, ...]

    def __getitem__(self, chosen: Sequence[np.ndarray]) -> Observations:
        every = np.concatenate(list(chosen))
        ends = np.cumsum([len(part) for part in chosen])
        blocks = tuple(np.arange(end - len(part), end) for end, part in zip(ends, chosen, strict=True))
        return Observations(self.rows[every], self.response[every], self.noise[every], blocks)


@dataclass(frozen=True)
class Parameters:
    """Logarithms of the variances by component, of the noise, and its slope over sizes, `(components + 2,)`.

    Attributes:
        values: the most probable ones, for utilities divided by `scale`.
        covariance: of their posterior, to second order.
        evidence: logarithm of the posterior density, up to a constant.
        scale: standard deviation of utilities about the trend.
    """

    values: np.ndarray
    covariance: np.ndarray
    evidence: float
    scale: float

    def noise(self, contrast: np.ndarray) -> np.ndarray:
        """Variance of the noise, relative to the squared scale, at these contrasts of the size."""
        noise: np.ndarray = np.exp(self.values[-2] + self.values[-1] * contrast)
        return noise


@dataclass(frozen=True)
class Solved:
    """A covariance K inverted.

    Attributes:
        projector: inverse of K with the trend F projected out, `(rows, rows)`.
        weighted: inverse of K times F, `(rows, columns)`.
        spread: inverse of F' inverse(K) F, `(columns, columns)`.
        dual: projector times the response, `(rows,)`.
        log_determinant: of K and of F' inverse(K) F.
    """

    projector: np.ndarray
    weighted: np.ndarray
    spread: np.ndarray
    dual: np.ndarray
    log_determinant: float


def solve(covariance: np.ndarray, trend: np.ndarray, response: np.ndarray) -> Solved:
    """Invert a covariance, which is overwritten.

    Raises:
        LinAlgError: it is not positive definite.
    """
    lower = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    log_determinant = 2 * np.log(np.diag(lower)).sum()
    inverse = lapack.dpotri(lower, lower=1)[0]
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weighted = inverse @ trend
    information = trend.T @ weighted
    spread = np.linalg.inv(information)
    inverse -= weighted @ spread @ weighted.T
    log_determinant += np.linalg.slogdet(information)[1]
    return Solved(inverse, weighted, spread, inverse @ response, float(log_determinant))


def independent_powers(trend: np.ndarray) -> np.ndarray:
    """Columns of a trend that are linearly independent, ascending."""
    _, triangle, order = qr(trend, mode="economic", pivoting=True)
    sizes = np.abs(np.diag(triangle))
    return np.sort(order[: len(sizes)][sizes > 1e-9 * sizes[0]])


@dataclass(frozen=True)
class _Block:
    """Rows from which variances are estimated: kernels `(used, rows, rows)` of the components `used`, and the trend."""

    kernels: np.ndarray
    used: np.ndarray
    trend: np.ndarray
    response: np.ndarray
    noise: np.ndarray
    contrast: np.ndarray

    @classmethod
    def of(cls, space: Space, observed: Observations, positions: np.ndarray, scale: float) -> _Block:
        rows = observed.rows[positions]
        kernels = np.array(list(space.kernels(rows, rows)))
        used = np.flatnonzero(np.abs(kernels).max(axis=(1, 2)) > 0)
        trend = space.trend(rows)
        return cls(
            kernels[used],
            used,
            trend[:, independent_powers(trend)],
            observed.response[positions] / scale,
            observed.noise[positions],
            space.quadratic(rows.sizes),
        )

    def solved(self, parameters: np.ndarray) -> tuple[Solved, np.ndarray]:
        """The inverted covariance, and the variance of the noise, `(rows,)`."""
        noise = np.exp(parameters[-2] + parameters[-1] * self.contrast) * self.noise
        flat = self.kernels.reshape(len(self.used), -1)
        matrix = (np.exp(parameters[self.used]) @ flat).reshape(self.kernels.shape[1:])
        matrix[np.diag_indices_from(matrix)] += noise + NUGGET
        return solve(matrix, self.trend, self.response), noise

    def information(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Parameters that the block depends on, and their expected information."""
        solved, noise = self.solved(parameters)
        terms = np.exp(parameters[self.used])[:, None, None] * (solved.projector @ self.kernels)
        terms = np.concatenate([terms, [solved.projector * noise, solved.projector * (noise * self.contrast)]])
        flat = terms.reshape(len(terms), -1)
        information = 0.5 * flat @ terms.transpose(0, 2, 1).reshape(len(terms), -1).T
        return np.append(self.used, [len(parameters) - 2, len(parameters) - 1]), information


def most_probable(space: Space, observed: Observations, *, seed: int, start: np.ndarray | None = None) -> Parameters:
    """Maximize the evidence.

    Args:
        seed: of the choice of the rows that are used, if there are many.
        start: parameters to begin from; None: two starts, with much noise and with little.
    """
    scale = _spread(space, observed)
    centres, widths = _prior(space)
    sample = _sample(observed, seed)
    blocks = [_Block.of(space, sample, positions, scale) for positions in sample.blocks]
    starts = [centres, np.append(centres[:-2], [np.log(1e-3), 0.0])] if start is None else [start]
    bounds = [(-23.0, 6.0)] * len(space.names) + [(-25.0, 4.0), (-2.0, 2.0)]

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        return _negative_evidence(parameters, blocks, centres, widths)

    runs = [
        minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 50})
        for first in starts
    ]
    best = min(runs, key=lambda run: float(run.fun))
    information = np.diag(1 / widths**2)
    for block in blocks:
        used, added = block.information(best.x)
        information[np.ix_(used, used)] += added
    return Parameters(best.x, np.linalg.inv(information), -float(best.fun), scale)


def _negative_evidence(
    parameters: np.ndarray, blocks: Sequence[_Block], centres: np.ndarray, widths: np.ndarray
) -> tuple[float, np.ndarray]:
    """Minus the logarithm of the restricted likelihood times the prior, and its gradient."""
    away = (parameters - centres) / widths
    value, gradient = 0.5 * float(away @ away), away / widths
    for block in blocks:
        try:
            solved, noise = block.solved(parameters)
        except LinAlgError:
            return 1e12, np.zeros_like(parameters)
        value += 0.5 * (solved.log_determinant + float(block.response @ solved.dual))
        excess = solved.projector - np.outer(solved.dual, solved.dual)
        flat = block.kernels.reshape(len(block.used), -1)
        gradient[block.used] += 0.5 * np.exp(parameters[block.used]) * (flat @ excess.ravel())
        by_noise = np.diag(excess) * noise
        gradient[-2] += 0.5 * by_noise.sum()
        gradient[-1] += 0.5 * by_noise @ block.contrast
    return value, gradient


def _prior(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of the logarithms of the variances, of the noise, and of its slope."""
    centres = [np.log(_CENTRES[name]) for name in space.names]
    widths = [_MAIN_WIDTH if name == "order 1" else _WIDTH for name in space.names]
    return np.array([*centres, np.log(_NOISE_CENTRE), 0.0]), np.array([*widths, _NOISE_WIDTH, _SLOPE_WIDTH])


def _spread(space: Space, observed: Observations) -> float:
    """Standard deviation of utilities about the trend."""
    trend = space.trend(observed.rows)
    rest = observed.response - trend @ np.linalg.lstsq(trend, observed.response, rcond=None)[0]
    spread = float(np.sqrt(2 * (rest**2).mean()))
    return spread or float(np.abs(observed.response).max()) or 1.0


def _sample(observed: Observations, seed: int) -> Observations:
    """At most `MOST_FITTED` rows of each parity."""
    generator = np.random.default_rng(seed)
    most = MOST_FITTED if len(observed.blocks) == 2 else 2 * MOST_FITTED
    if max(map(len, observed.blocks)) <= most:
        return observed
    # The two halves of a pair stay together.
    order = np.sort(generator.permutation(len(observed.blocks[0]))[:most])
    return observed[[block[order] for block in observed.blocks]]
