"""Shapley credit of contributors from the utilities of sampled coalitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from royalty.models.base.arrays import as_labels, as_masks, as_number, as_seed, as_vector
from royalty.models.base.choices import Estimator
from royalty.models.base.errors import InputError, by_name
from royalty.models.valuation.coalitions import size_weights
from royalty.models.valuation.interacting import fit_game_credit, fit_interacting, observe
from royalty.models.valuation.regression import Fit, Units, fit_complete, fit_fixed, fit_mixed, fit_moments, to_units
from royalty.models.valuation.repeats import Repeats, checked_repeats
from royalty.models.valuation.stratified import MOST_OF_STRATIFIED, fit_stratified

GAIN = 2.0
"""Standard errors by which `game` must predict better than `mixed`."""

MOST_OF_AUTO = 3000
"""Coalitions up to which `auto` considers `game`, which takes seconds beyond that."""

LEAST_OF_STRATIFIED, LEAST_OF_OTHERS = 1.2, 2
"""Observations a contributor, half as many as coalitions in pairs, above which `auto` considers an estimator."""

SURER = 1.0
"""Standard errors by which `stratified` must predict better than `mixed`: it loses little where both are right."""

EXPLAINED = 1e-6
"""Error for left-out coalitions, relative to the spread of utilities, below which `mixed` explains everything."""


@dataclass(frozen=True)
class ShapleyEstimate:
    """Credit of each contributor, in units of the utility; higher is more valuable.

    Attributes:
        values: `(contributors,)`; they sum to the utility of the grand coalition minus that of the empty one.
        stderr: `(contributors,)`, over the draw of coalitions and the variation between repetitions.
        ci_low, ci_high: `(contributors,)`, ends of the confidence interval.
        n_evaluations: coalitions measured, the empty and the grand one included.
        diagnostics: `efficiency_gap` (|sum of values - total|); `condition_number` of the regression;
            `estimator` as used, and `why`; `pairs`, and `unpaired` coalitions. If coalitions were measured
            repeatedly, the fractions of the mean variance that come from the draw of coalitions, from
            training seeds and from sampling: `variance_coalitions`, `variance_training`, `variance_sampling`.
    """

    values: np.ndarray
    stderr: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray
    n_evaluations: int
    diagnostics: dict[str, float | str]

    @classmethod
    def about(
        cls,
        values: np.ndarray,
        stderr: np.ndarray,
        *,
        freedom: float,
        confidence: float,
        n_evaluations: int,
        diagnostics: dict[str, float | str],
    ) -> ShapleyEstimate:
        """An estimate whose intervals are quantiles of Student's t about the values.

        Args:
            freedom: degrees of freedom of the standard errors.
            confidence: of the intervals, in (0, 1).
        """
        reach = float(stdtrit(freedom, (1 + confidence) / 2)) * stderr
        return cls(values, stderr, values - reach, values + reach, n_evaluations, diagnostics)


def estimate_shapley(
    masks: ArrayLike,
    utilities: ArrayLike,
    null_utility: float,
    grand_utility: float,
    *,
    estimator: Estimator = "auto",
    ridge: float = 0.0,
    seeds: ArrayLike | None = None,
    draws: ArrayLike | None = None,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> ShapleyEstimate:
    """Estimate Shapley values with confidence intervals. All estimators satisfy efficiency exactly.

    `constrained` is the weighted least squares of KernelSHAP (Covert & Lee 2021; eq. 5 of the
    sparsified fine-tuning paper): phi = A^-1 (b - 1 (1'A^-1 b - v1 + v0) / (1'A^-1 1)), A = X'X/m,
    b = X'(v - v0)/m. It also fits a game of the coalition's size alone, zero for the empty and the grand
    coalition, which does not change the limit because its Shapley values are zero. Utilities jump from the empty
    coalition to any other, and without this term an additive fit would attribute the jump to the contributors drawn
    into small coalitions. `unbiased` replaces A by its expectation. Both weight coalitions so that their sizes have the
    KernelSHAP distribution, whatever distribution they were drawn from. `mixed` shrinks contributors' effects by an
    amount estimated from the data (`regression.fit_mixed`). `stratified` lets the effects and the noise change with the
    coalition's size (`stratified.fit_stratified`). `game` also models interactions of up to six contributors
    (`fit_game`), which explains more of the utilities where there is little noise. `auto` is `mixed`, unless
    `stratified` predicts left-out coalitions better by one standard error or `game` by two, or else another estimator
    ranks them better.

    Intervals are quantiles of Student's t about the value. Their variance is that of the posterior in `mixed`,
    `stratified` and `game`, of a mean in `unbiased`, and of a wild bootstrap of the residuals in `constrained`; it does
    not include the bias of a ridge.

    If all 2^n - 2 coalitions are given, the values are exact for every estimator. The intervals then describe the
    variation between training seeds: measured from repetitions or, without any, bounded above by counting everything
    that `mixed` does not explain as noise, interactions of contributors included. With two contributors nothing is
    left to estimate noise from, and without repetitions the intervals have zero width.

    Args:
        masks: True or 1 where a contributor is in a coalition, False or 0 elsewhere, `(m, n)`; rows may be in any
            order, and complementary pairs are detected.
        utilities: `(m,)`, v(S) of each row, in any unit; higher is better.
        null_utility: v0, utility of the empty coalition, from the same family of models as the utilities.
        grand_utility: v1, utility of the grand coalition, likewise.
        ridge: of `constrained`; shrinks credit towards equal shares. A ridge above 0 also allows fewer coalitions than
            contributors in `mixed`, which estimates its own shrinkage.
        seeds: `(m,)`, training seed of each row, if coalitions were measured with several.
        draws: `(m,)`, seed of the generated images of each row, likewise.
        confidence: of the intervals, in (0, 1).
        n_bootstrap: bootstrap draws of `constrained`.
        seed: of the bootstrap, and of the choice of the coalitions from which `game` estimates variances, if there are
            more than 280.

    Raises:
        InputError: utilities that are not finite, above 1e100, less than 1e-100 apart, not one for each coalition, or
            different for the same coalition and seed; seeds that are not one for each coalition; no coalitions, or
            fewer than contributors without a ridge; a contributor in no coalition or in all; an unknown estimator, a
            negative ridge, or a confidence or number of draws out of range.

    Returns:
        Values in the units of the utility, higher is more valuable, with standard errors and intervals.

    Examples:
        Three contributors whose utilities add up, and whose every coalition was measured:

        >>> import royalty
        >>> masks = [[1, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]]
        >>> credit = royalty.estimate_shapley(masks, [3, 3, 2, 4, 1, 5], null_utility=0, grand_utility=6)
        >>> credit.values.round(6).tolist()
        [3.0, 2.0, 1.0]
        >>> credit.diagnostics["estimator"]
        'enumeration'
    """
    by_name(estimator, dict.fromkeys(get_args(Estimator)), "estimator")
    if not (math.isfinite(ridge) and ridge >= 0):
        raise InputError(f"a ridge is a finite number of at least 0, got {ridge}; 0 draws credit nowhere")
    if not 0 < confidence < 1:
        raise InputError(f"the confidence of an interval lies between 0 and 1, got {confidence}; 0.95 is usual")
    if n_bootstrap < 2:
        raise InputError(f"a variance takes at least 2 draws of the bootstrap, got {n_bootstrap}; 1000 is usual")
    masks, utilities = as_masks(masks, "masks"), as_vector(utilities, "utilities")
    null_utility, grand_utility = as_number(null_utility, "null_utility"), as_number(grand_utility, "grand_utility")
    seeds, draws = as_labels(seeds, "seeds"), as_labels(draws, "draws")
    repeats = checked_repeats(masks, utilities, null_utility, grand_utility, seeds, draws, ridge=ridge)
    units, seed = to_units(repeats.masks, repeats.utilities), as_seed(seed)

    def fit() -> tuple[str, str, Fit]:
        if estimator == "auto":
            return _best_predicting(units, repeats, ridge, seed)
        return estimator, "asked for", _fit(units, repeats, estimator, ridge, seed)

    total = grand_utility - null_utility
    return shapley_of(
        units, repeats, total, fit, rows=len(masks), confidence=confidence, n_bootstrap=n_bootstrap, seed=seed
    )


def shapley_of(
    units: Units,
    repeats: Repeats,
    total: float,
    fit_units: Callable[[], tuple[str, str, Fit]],
    *,
    rows: int,
    confidence: float,
    n_bootstrap: int,
    seed: int,
) -> ShapleyEstimate:
    """Shapley values with intervals by a fit, or by enumeration where all coalitions were measured.

    Args:
        units: of the coalitions of `repeats`.
        total: sum of the values.
        fit_units: the estimator, why it was chosen, and its fit; not called where all coalitions were measured.
        rows: number of measurements, without nobody and everybody.
    """
    n_players = repeats.masks.shape[1]
    if len(repeats.masks) == 2**n_players - 2:
        chosen, why, fit = "enumeration", "all coalitions were measured", fit_complete(units)
        if not repeats.variance:
            mixed = fit_mixed(units)
            fit = replace(
                fit, variance=mixed.noise * (fit.linear**2).sum(axis=1), freedom=mixed.freedom, noise=mixed.noise
            )
    else:
        chosen, why, fit = fit_units()
    noise = {source: fit.linear**2 @ units.variance_of(cells) for source, cells in repeats.variance.items()}  # (n,)
    # The total is noisy too, which the residuals of the effects do not show. Its variance is that between repetitions
    # or, without any, at most what the fit leaves unexplained.
    ends = repeats.null_and_grand if noise else fit.noise * (2 if units.paired else 1)
    variance = _variance(fit, noise, n_bootstrap, seed) + 2 * ends / n_players**2
    values = total / n_players + fit.effects
    pairs = int(units.paired and (units.second >= 0).sum())
    return ShapleyEstimate.about(
        values,
        np.sqrt(variance),
        freedom=fit.freedom,
        confidence=confidence,
        n_evaluations=rows + 2,
        diagnostics={
            "efficiency_gap": float(abs(values.sum() - total)),
            "condition_number": fit.condition,
            "estimator": chosen,
            "why": why,
            "pairs": float(pairs),
            "unpaired": float(len(repeats.masks) - 2 * pairs),
            **_shares(noise, variance),
        },
    )


def _fit(units: Units, repeats: Repeats, estimator: Estimator, ridge: float, seed: int) -> Fit:
    if estimator == "mixed":
        return fit_mixed(units)
    if estimator == "stratified":
        return fit_stratified(repeats.masks, repeats.utilities, units).fit
    if estimator == "game":
        return fit_game_credit(units, fit_interacting(observe(units, repeats), seed=seed))
    weighted = units.weighted(size_weights(units.sizes, units.centred.shape[1]))
    return fit_moments(weighted) if estimator == "unbiased" else fit_fixed(weighted, ridge=ridge)


def _best_predicting(units: Units, repeats: Repeats, ridge: float, seed: int) -> tuple[Estimator, str, Fit]:
    """`mixed`, unless `stratified` or `game` predicts left-out coalitions better, or else another ranks them better.

    Better means by `SURER` standard errors of the mean difference of log densities, which weigh errors by how large
    they are expected to be at each size; by `GAIN` of squared errors; or by a rank correlation (leave-one-out LDS).
    """
    mixed = fit_mixed(units)
    observations = len(units.response) / units.centred.shape[1]
    unexplained = np.sqrt((units.weights * mixed.left_out**2).mean())
    explained = unexplained <= EXPLAINED * repeats.utilities.std()
    stratified, gain = None, 0.0
    if observations > LEAST_OF_STRATIFIED and len(repeats.masks) <= MOST_OF_STRATIFIED and not explained:
        stratified = fit_stratified(repeats.masks, repeats.utilities, units)
        gains = _density(stratified.fit, stratified.deviations) - _density(mixed)
        gain = float(gains.mean())
        if gain <= SURER * gains.std() / np.sqrt(len(gains)):
            stratified = None
    few = observations <= LEAST_OF_OTHERS
    if not few and len(repeats.masks) <= MOST_OF_AUTO and not explained:
        game = _fit(units, repeats, "game", ridge, seed)
        gains = units.weights * (mixed.left_out**2 - game.left_out**2)
        better = gains.mean() > GAIN * gains.std() / np.sqrt(len(gains))
        if better and (stratified is None or _density(game).mean() > _density(mixed).mean() + gain):
            remaining = np.sqrt((units.weights * game.left_out**2).mean())
            return "game", f"error for left-out coalitions: mixed {unexplained:.3g}, game {remaining:.3g}", game
    if stratified is not None:
        return "stratified", f"log density of left-out coalitions: {gain:.2f} above that of mixed", stratified.fit
    if few:
        return "mixed", "fewer than two observations a contributor", mixed
    candidates: tuple[Estimator, ...] = ("mixed", "constrained", "unbiased")
    fits = {name: mixed if name == "mixed" else _fit(units, repeats, name, ridge, seed) for name in candidates}
    scores = {name: _rank_correlation(fit.predicted, fit.predicted + fit.left_out) for name, fit in fits.items()}
    best = max(candidates, key=lambda name: scores[name])
    chosen = best if scores[best] > scores["mixed"] + 1 / np.sqrt(len(units.response)) else candidates[0]
    shown = ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
    return chosen, f"rank correlation with left-out coalitions: {shown}", fits[chosen]


def _density(fit: Fit, deviations: np.ndarray | None = None) -> np.ndarray:
    """Log of the normal density of each left-out unit, `(units,)`; by default of one deviation, that of the errors."""
    spread = np.sqrt((fit.left_out**2).mean()) if deviations is None else deviations
    density: np.ndarray = -np.log(spread) - 0.5 * (fit.left_out / spread) ** 2
    return density


def _rank_correlation(predicted: np.ndarray, actual: np.ndarray) -> float:
    """Spearman correlation; -1 if either is constant."""
    first, second = _ranks(predicted), _ranks(actual)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return -1.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks; equal values get their mean rank. `scipy.stats.rankdata` would take a second to import."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (counts.cumsum() - (counts - 1) / 2)[position]
    return ranks


def _variance(fit: Fit, noise: dict[str, np.ndarray], n_bootstrap: int, seed: int) -> np.ndarray:
    """Variance of the effects, `(n,)`."""
    if fit.variance is not None:
        return fit.variance
    if fit.exact:
        return sum(noise.values(), np.zeros(len(fit.effects)))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(len(fit.residual), n_bootstrap))
    replicates = (fit.linear * fit.residual) @ signs  # (n, bootstrap)
    variance: np.ndarray = replicates.var(axis=1, ddof=1)
    return variance


def _shares(noise: dict[str, np.ndarray], variance: np.ndarray) -> dict[str, float]:
    """The fraction of the mean variance from each source; empty without repetitions."""
    whole = float(variance.mean())
    if not noise or whole == 0:
        return {}
    shares = {f"variance_{source}": min(float(values.mean()) / whole, 1.0) for source, values in noise.items()}
    return {"variance_coalitions": max(1 - sum(shares.values()), 0.0), **shares}
