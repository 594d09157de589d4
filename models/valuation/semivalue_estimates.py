"""Semivalues as credit: Shapley, Banzhaf and Beta values from the same coalitions, with intervals.

What a second name gains is a difference of two of them.
"""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln, gammaln

from royalty.models.base.arrays import as_labels, as_masks, as_number, as_seed, as_vector
from royalty.models.base.choices import Semivalue
from royalty.models.base.errors import InputError, by_name
from royalty.models.valuation.covariances import Functional, Space
from royalty.models.valuation.interacting import FittedGame, fit_interacting, observe
from royalty.models.valuation.regression import to_units
from royalty.models.valuation.repeats import checked_repeats
from royalty.models.valuation.shapley import ShapleyEstimate


def size_probabilities(value: Semivalue, n_players: int, *, alpha: float = 1.0, beta: float = 1.0) -> np.ndarray:
    """Probability that a contributor joins a coalition of each size 0..n - 1, `(n_players,)`, by a semivalue.

    `shapley` is uniform. `banzhaf` draws each other contributor with probability one half (Wang & Jia 2023). `beta`
    draws them with a probability from Beta(beta, alpha) (Kwon & Zou 2022): Beta(16, 1) weighs small coalitions,
    Beta(1, 16) large ones, and Beta(1, 1) is Shapley's.

    Raises:
        InputError: an unknown value, or alpha or beta not above 0.
    """
    by_name(value, dict.fromkeys(get_args(Semivalue)), "semivalue")
    if not (0 < alpha < math.inf and 0 < beta < math.inf):
        raise InputError(
            f"the parameters of a Beta value are finite numbers above 0, got {alpha} and {beta}; 16 and 1 weigh small "
            "coalitions"
        )
    sizes, others = np.arange(n_players), n_players - 1
    if value == "shapley":
        return np.full(n_players, 1 / n_players)
    ways = gammaln(others + 1) - gammaln(sizes + 1) - gammaln(others - sizes + 1)
    if value == "banzhaf":
        logarithms = ways - others * math.log(2)
    else:
        logarithms = ways + betaln(sizes + beta, others - sizes + alpha) - betaln(beta, alpha)
    probabilities: np.ndarray = np.exp(logarithms)
    return probabilities


def estimate_semivalues(
    masks: ArrayLike,
    utilities: ArrayLike,
    null_utility: float,
    grand_utility: float,
    *,
    value: Semivalue,
    alpha: float = 1.0,
    beta: float = 1.0,
    seeds: ArrayLike | None = None,
    draws: ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> ShapleyEstimate:
    """Estimate semivalues with intervals from coalitions of any sizes.

    A semivalue is the mean of v(S + i) - v(S) over coalitions S without i, whose sizes have the probabilities of
    `size_probabilities`. The game of `fit_game` is fitted to the coalitions, and the semivalue is computed of it, with
    its posterior variance. If all coalitions are given, the values are exact, and the intervals show noise only.

    Only Shapley values sum to v(everybody) - v(nobody). Banzhaf values keep their order under noise best; Beta values
    with `alpha` above `beta` ask what a contributor adds to few others.

    Args:
        masks, utilities, null_utility, grand_utility, seeds, draws, confidence: as `estimate_shapley`.
        value: the semivalue.
        alpha, beta: parameters of `beta`.
        seed: as for `fit_game`.

    Raises:
        InputError: as `fit_game` and `size_probabilities`.

    Returns:
        Values in the units of the utility, higher is more valuable. `diagnostics` has the `estimator`, and the
        `efficiency_gap`, |sum of values - v(everybody) + v(nobody)|, which only Shapley values keep at 0.

    Examples:
        An additive game has the same semivalues of every kind:

        >>> import royalty
        >>> masks = [[1, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]]
        >>> credit = royalty.estimate_semivalues(masks, [3, 3, 2, 4, 1, 5], 0, 6, value="banzhaf")
        >>> credit.values.round(6).tolist()
        [3.0, 2.0, 1.0]
    """
    masks = as_masks(masks, "masks")
    weights = size_probabilities(value, masks.shape[1], alpha=alpha, beta=beta)
    why = f"{value} values are computed of the fitted game"
    return _estimate(masks, utilities, null_utility, grand_utility, weights, why, seeds, draws, confidence, seed)


def second_name_gains(
    masks: ArrayLike, utilities: ArrayLike, null_utility: float, grand_utility: float, *, confidence: float = 0.95
) -> ShapleyEstimate:
    """Estimate how much more Shapley credit each contributor would have under two names.

    How good a model of half of the images is was not measured. The names are taken as perfect substitutes: a model with
    one of them is as good as with both. This is where a second name pays most among games with diminishing returns; if
    halves add up instead, it pays nothing.

    In a random order, the substitute who comes first adds what the contributor adds, and the second one nothing. If
    everybody comes at a time uniform on [0, 1], the first of two comes at a time with the distribution Beta(1, 2). So
    the two together have the `beta` semivalue of the contributor with `alpha` 2 and `beta` 1, in any game.

    Args:
        masks, utilities, null_utility, grand_utility, confidence: as `estimate_semivalues`.

    Returns:
        Gains in the units of the utility, with intervals.

    Raises:
        InputError: as `fit_game`.
    """
    masks = as_masks(masks, "masks")
    n_players = masks.shape[1]
    weights = size_probabilities("beta", n_players, alpha=2) - size_probabilities("shapley", n_players)
    why = "the beta value of the first of two names, minus the Shapley value"
    return _estimate(masks, utilities, null_utility, grand_utility, weights, why, None, None, confidence, 0)


def _estimate(
    masks: np.ndarray,
    utilities: ArrayLike,
    null_utility: float,
    grand_utility: float,
    weights: np.ndarray,
    why: str,
    seeds: ArrayLike | None,
    draws: ArrayLike | None,
    confidence: float,
    seed: int,
) -> ShapleyEstimate:
    """Sums of v(S + i) - v(S) with a weight for each size of S, `(n,)`, of the game that is fitted."""
    if not 0 < confidence < 1:
        raise InputError(f"the confidence of an interval lies between 0 and 1, got {confidence}; 0.95 is usual")
    utilities, seeds, draws = as_vector(utilities, "utilities"), as_labels(seeds, "seeds"), as_labels(draws, "draws")
    null, grand = as_number(null_utility, "null_utility"), as_number(grand_utility, "grand_utility")
    repeats = checked_repeats(masks, utilities, null, grand, seeds, draws, ridge=0.0)
    n_players = masks.shape[1]
    fitted = fit_interacting(observe(to_units(repeats.masks, repeats.utilities), repeats), seed=as_seed(seed))
    ends = weights[-1] * grand - weights[0] * null
    measured = sum(repeats.variance.values(), np.zeros(len(repeats.masks)))
    noise = measured if measured.any() else np.full(len(repeats.masks), fitted.posterior.noise)
    if len(repeats.masks) == 2**n_players - 2:
        chosen, linear = "enumeration", marginal_weights(repeats.masks, weights)
        values, variance = linear @ repeats.utilities, linear**2 @ noise
    else:
        chosen = "game"
        values, variance = _of_game(fitted, weights)
    # The ends were measured, with noise, as often as a coalition.
    variance = variance + (weights[-1] ** 2 + weights[0] ** 2) * noise.mean()
    values = values + ends
    return ShapleyEstimate.about(
        values,
        np.sqrt(variance),
        freedom=fitted.posterior.freedom,
        confidence=confidence,
        n_evaluations=len(masks) + 2,
        diagnostics={
            "efficiency_gap": float(abs(values.sum() - grand + null)),
            "estimator": chosen,
            "why": why,
        },
    )


def marginal_weights(masks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights of all proper coalitions in each semivalue, `(n, coalitions)`; those of nobody and everybody are apart.

    Args:
        masks: bool, `(2^n - 2, n)`, each coalition once.
        weights: `(n,)`, from `size_probabilities`.
    """
    n_players, sizes = masks.shape[1], masks.sum(axis=1)
    ways = np.array([math.comb(n_players - 1, size) for size in range(n_players)])
    shares = weights / ways
    linear: np.ndarray = np.where(masks, shares[sizes - 1][:, None], -shares[sizes][:, None]).T
    return linear


def _of_game(fitted: FittedGame, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Semivalues of a fitted game without the steps from nobody and to everybody, and their variance, `(n,)` each."""
    posterior = fitted.posterior
    observed = posterior.observed.rows

    def effects_in(space: Space) -> Functional:
        return space.credits(weights, observed)

    effects, variance, _ = fitted.evaluate(effects_in)
    # If the prior is wrong, as for a game that jumps at one coalition, errors for left-out rows show it.
    variance = np.maximum(variance, posterior.linear(effects_in(posterior.space)) ** 2 @ posterior.left_out**2)
    level, uncertainty, _ = fitted.evaluate(lambda space: space.mean_credit(weights, observed))
    return effects + level, variance + uncertainty
