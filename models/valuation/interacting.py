"""Fit a game with interactions to measured coalitions: pairs to rows, contributors' weights, and credit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.valuation.coalitions import size_weights
from royalty.models.valuation.covariances import Functional, Rows, Space
from royalty.models.valuation.evidence import Observations, most_probable
from royalty.models.valuation.posterior import Posterior, condition
from royalty.models.valuation.regression import Fit, Units, fit_fixed
from royalty.models.valuation.repeats import Repeats

MOST_ROWS = 6000
"""Largest number of dependent rows, whose covariance is inverted: 12,000 coalitions in pairs, or 6,000 without."""

_EXPONENTS = (1.0, 2.0)
"""Candidate powers of a contributor's strength in pairs, for the weight in interactions."""

_LEAST_WEIGHT = 0.05
_GAIN = 3.0
"""Gain of evidence, in logarithms, from which contributors are weighted; the weights come from the same data."""

_LEAST_SHARE = 0.02
"""Fraction of the variance from interactions below which weights in them are not tried."""


def observe(units: Units, repeats: Repeats) -> Observations:
    """Rows from coalitions: two for each pair of complements, one for each other coalition.

    Args:
        units: of the coalitions of `repeats`.
    """
    masks, utilities = repeats.masks, repeats.utilities
    variance = sum(repeats.variance.values(), np.zeros(len(masks)))
    relative = variance / variance.mean() if variance.any() else np.ones(len(masks))
    pairs = units.second >= 0
    first, second, single = units.first[pairs], units.second[pairs], units.first[~pairs]
    halves = (relative[first] + relative[second]) / 4
    count, rest = len(first), len(single)
    members = masks[np.concatenate([first, first, single])]
    odd = np.concatenate([np.ones(count), np.zeros(count), np.ones(rest)])
    even = np.concatenate([np.zeros(count), np.ones(count), np.ones(rest)])
    differences, sums = (utilities[first] - utilities[second]) / 2, (utilities[first] + utilities[second]) / 2
    blocks = (np.arange(2 * count + rest),) if rest else (np.arange(count), np.arange(count, 2 * count))
    return Observations(
        Rows(members, odd, even),
        np.concatenate([differences, sums, utilities[single]]),
        np.concatenate([halves, halves, relative[single]]),
        blocks,
    )


@dataclass(frozen=True)
class FittedGame:
    """The posterior of a game.

    Attributes:
        posterior: with contributors weighted in interactions, if the evidence is for it.
        unweighted: without, if `posterior` has weights. The weights come from the same data, so standard errors are at
            least the unweighted ones, and half of the difference of the means is added to them.
    """

    posterior: Posterior
    unweighted: Posterior | None

    def evaluate(self, build: Callable[[Space], Functional]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, variance, and variance before any observation, of linear functions of the game, `(functions,)` each."""
        functional = build(self.posterior.space)
        mean, variance = self.posterior.evaluate(functional)
        prior = self.posterior.prior_variance(functional)
        if self.unweighted is not None:
            other_mean, other_variance = self.unweighted.evaluate(build(self.unweighted.space))
            variance = np.maximum(variance, other_variance) + (mean - other_mean) ** 2 / 4
        return mean, variance, prior


def fit_interacting(observed: Observations, *, seed: int) -> FittedGame:
    """Estimate the variances of interactions and the weights of contributors in them.

    Args:
        seed: of the choice of the rows from which variances are estimated.

    Raises:
        InputError: more coalitions than a covariance is inverted for.
    """
    if max(map(len, observed.blocks)) > MOST_ROWS:
        raise InputError(
            f"the model of the game takes at most {2 * MOST_ROWS} coalitions in complementary pairs, or {MOST_ROWS} "
            f"without; got {len(observed.response)}. Use `estimate_shapley` with estimator `mixed`"
        )
    n_players = observed.rows.masks.shape[1]
    powers = 4 if n_players > 5 and len(observed.response) > 24 else 2
    space = Space(np.ones(n_players), powers)
    parameters = most_probable(space, observed, seed=seed)
    unweighted = condition(space, observed, parameters)
    if n_players < 4 or unweighted.share_of_interactions < _LEAST_SHARE:
        return FittedGame(unweighted, None)
    strengths, best = _strengths(unweighted), (space, parameters)
    for exponent in _EXPONENTS:
        weighted = Space(_LEAST_WEIGHT + strengths**exponent, powers)
        refitted = most_probable(weighted, observed, seed=seed, start=parameters.values)
        if refitted.evidence > best[1].evidence + (_GAIN if best[0] is space else 0):
            best = weighted, refitted
    if best[0] is space:
        return FittedGame(unweighted, None)
    return FittedGame(condition(best[0], observed, best[1]), unweighted)


def fit_game_credit(units: Units, fitted: FittedGame) -> Fit:
    """Effects of contributors in a fitted game, in the form of the other estimators."""
    posterior, n_players = fitted.posterior, units.centred.shape[1]
    uniform = np.full(n_players, 1 / n_players)

    def credits_in(space: Space) -> Functional:
        return space.credits(uniform, posterior.observed.rows)

    effects, variance, _ = fitted.evaluate(credits_in)
    linear = posterior.linear(credits_in(posterior.space))  # (n, rows)
    # If the prior is wrong, as for a game that jumps at one coalition, errors for left-out rows show it.
    variance = np.maximum(variance, linear**2 @ posterior.left_out**2)
    pairs = int((units.second >= 0).sum())
    # A pair has two rows, whose noise is independent.
    both = np.hypot(linear[:, :pairs], linear[:, pairs : 2 * pairs])
    left_out = np.concatenate([posterior.left_out[:pairs], posterior.left_out[2 * pairs :]])
    correction, uncertainty = _residual_correction(units, left_out)
    effects, variance = effects + correction, variance + uncertainty
    return Fit(
        effects=effects - effects.mean(),
        variance=variance,
        linear=np.hstack([both, linear[:, 2 * pairs :]]),
        residual=left_out,
        left_out=left_out,
        predicted=units.response - left_out,
        freedom=posterior.freedom,
        condition=float(np.exp(np.ptp(posterior.parameters.values[:-1]))),
        noise=posterior.noise / (2 if units.paired else 1),
    )


def _residual_correction(units: Units, left_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the errors for left-out rows add to the effects, and the variance that this adds, `(n,)` each.

    As in the regression-adjusted estimates of Witter et al. (2025), the Shapley values of the errors are unbiased
    whatever the model; here KernelSHAP estimates them. They are shrunk to zero by as much as they look like noise
    (James and Stein 1961), so that a model that fits is left as it is.
    """
    weights = size_weights(units.sizes, units.centred.shape[1])
    fit = fit_fixed(replace(units, response=left_out).weighted(weights))
    noise = fit.linear**2 @ fit.residual**2
    signal = float((fit.effects**2).mean())
    kept = max(1 - float(noise.mean()) / signal, 0.0) if signal > 0 else 0.0
    return kept * fit.effects, kept**2 * noise


def _strengths(posterior: Posterior) -> np.ndarray:
    """Root sum of squares of each contributor's interactions in pairs, relative to the mean, `(n,)`."""
    signs = posterior.observed.rows.signs
    dual = np.zeros(len(signs))
    for part in posterior.parts:
        dual[part.positions] = part.solved.dual
    pairs = signs.T @ (signs * (dual * posterior.observed.rows.even)[:, None])  # (n, n), up to a factor
    np.fill_diagonal(pairs, 0)
    strengths = np.sqrt((pairs**2).sum(axis=1))
    mean = strengths.mean()
    relative: np.ndarray = strengths / mean if mean > 0 else np.ones(len(strengths))
    return relative
