"""Condition a game on its measured utilities, and compute posteriors of linear functions of it.

Standard errors include the uncertainty of the variance components to first order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from royalty.models.valuation.covariances import Functional, Space
from royalty.models.valuation.evidence import (
    NUGGET,
    Observations,
    Parameters,
    Solved,
    independent_powers,
    solve,
)


@dataclass(frozen=True)
class _Part:
    """A block of observations, inverted.

    Attributes:
        positions: of its rows among all.
        powers: of the size in its trend.
        moves: by component, the change of the covariance with the component's logarithm, times the dual, `(rows,)`.
    """

    positions: np.ndarray
    powers: np.ndarray
    response: np.ndarray
    solved: Solved
    noise: np.ndarray
    contrast: np.ndarray
    moves: dict[int, np.ndarray]


@dataclass(frozen=True)
class Posterior:
    """The posterior of a game.

    Attributes:
        space: components of the prior.
        parameters: their variances.
        left_out: `(rows,)`, each response minus its prediction from all other rows; 0 where the others predict nothing.
        freedom: degrees of freedom of standard errors.
    """

    space: Space
    observed: Observations
    parameters: Parameters
    left_out: np.ndarray
    freedom: float
    parts: tuple[_Part, ...]

    @property
    def noise(self) -> float:
        """Variance of the noise of a utility, at the mean over sizes."""
        return float(self.parameters.scale**2 * self.parameters.noise(np.zeros(1))[0])

    def noise_at(self, sizes: np.ndarray) -> np.ndarray:
        """Variance of the noise of the utilities of coalitions of these sizes."""
        return self.parameters.scale**2 * self.parameters.noise(self.space.quadratic(sizes))

    @property
    def variances(self) -> dict[str, float]:
        """Variance of each component over coalitions, in squared units of the utility."""
        values = self.parameters.scale**2 * np.exp(self.parameters.values[:-2])
        return {name: float(value) for name, value in zip(self.space.names, values, strict=True)}

    @property
    def share_of_interactions(self) -> float:
        """Fraction of the variance of utilities from interactions, of that from main effects and interactions."""
        orders = np.exp(self.parameters.values[: self.space.highest])
        return float(orders[1:].sum() / orders.sum())

    def evaluate(self, functional: Functional) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and variance of linear functions of the game, `(functions,)` each."""
        count, values = len(functional.trend), self.parameters.values
        mean, sensitivity = np.zeros(count), np.zeros((count, len(values)))
        variance = sum((np.exp(values[part]) * prior for part, prior in functional.prior.items()), np.zeros(count))
        for part in self.parts:
            solved, trend = part.solved, functional.trend[:, part.powers]
            joint = np.zeros((count, len(part.positions)))
            for component in functional.covariance.keys() & part.moves.keys():
                covariance = np.exp(values[component]) * functional.covariance[component][:, part.positions]
                joint += covariance
                sensitivity[:, component] += covariance @ solved.dual
            mean += joint @ solved.dual + trend @ (solved.spread @ (solved.weighted.T @ part.response))
            fitted = joint @ solved.weighted
            projected = joint @ solved.projector
            gap = trend - fitted
            variance += ((gap @ solved.spread) * gap).sum(axis=1) - ((fitted @ solved.spread) * fitted).sum(axis=1)
            variance -= (projected * joint).sum(axis=1)
            sides = projected + trend @ solved.spread @ solved.weighted.T  # (functions, rows)
            for component, move in part.moves.items():
                sensitivity[:, component] -= sides @ move
            by_noise = part.noise * solved.dual
            sensitivity[:, -2] -= sides @ by_noise
            sensitivity[:, -1] -= sides @ (by_noise * part.contrast)
        variance = np.maximum(variance, 0) + ((sensitivity @ self.parameters.covariance) * sensitivity).sum(axis=1)
        return self.parameters.scale * mean, self.parameters.scale**2 * variance

    def prior_variance(self, functional: Functional) -> np.ndarray:
        """Variance of linear functions before any observation, without the trend's, `(functions,)`."""
        values = self.parameters.values
        parts = (np.exp(values[part]) * prior for part, prior in functional.prior.items())
        variance: np.ndarray = self.parameters.scale**2 * sum(parts, np.zeros(len(functional.trend)))
        return variance

    def linear(self, functional: Functional) -> np.ndarray:
        """Weights of the responses in the posterior mean, `(functions, rows)`."""
        weights = np.zeros((len(functional.trend), len(self.observed.response)))
        for part in self.parts:
            joint = np.zeros((len(weights), len(part.positions)))
            for component in functional.covariance.keys() & part.moves.keys():
                variance = np.exp(self.parameters.values[component])
                joint += variance * functional.covariance[component][:, part.positions]
            trend = functional.trend[:, part.powers] @ part.solved.spread @ part.solved.weighted.T
            weights[:, part.positions] = joint @ part.solved.projector + trend
        return weights


def condition(space: Space, observed: Observations, parameters: Parameters) -> Posterior:
    """Condition the game on the observations, with given variances."""
    parts = tuple(_part(space, observed, positions, parameters) for positions in observed.blocks)
    left_out, spare = np.zeros(len(observed.response)), 0.0
    for part in parts:
        diagonal = np.diag(part.solved.projector)
        known = diagonal > 0  # not where the trend takes as many powers as there are rows
        left_out[part.positions[known]] = parameters.scale * part.solved.dual[known] / diagonal[known]
        spare += float(diagonal @ part.noise)
    # Where interactions explain nearly everything, their variances rest on all rows, though little is left to noise.
    freedom = max(spare, len(observed.response) / 4, 1.0)
    return Posterior(space, observed, parameters, left_out, freedom, parts)


def _part(space: Space, observed: Observations, positions: np.ndarray, parameters: Parameters) -> _Part:
    rows = observed.rows[positions]
    contrast = space.quadratic(rows.sizes)
    noise = parameters.noise(contrast) * observed.noise[positions]
    covariance = np.diag(noise + NUGGET)
    variances = np.exp(parameters.values)
    for variance, kernel in zip(variances[:-2], space.kernels(rows, rows), strict=True):
        covariance += variance * kernel
    trend = space.trend(rows)
    powers = independent_powers(trend)
    response = observed.response[positions] / parameters.scale
    solved = solve(covariance, trend[:, powers], response)
    moves = {
        component: variance * (kernel @ solved.dual)
        for component, (variance, kernel) in enumerate(zip(variances[:-2], space.kernels(rows, rows), strict=True))
        if kernel.any()
    }
    return _Part(positions, powers, response, solved, noise, contrast, moves)
