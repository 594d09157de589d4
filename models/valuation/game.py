"""A model of the game between contributors: credit, substitutes and complements, and utilities of any coalition."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from royalty.models.base.arrays import as_labels, as_masks, as_number, as_seed, as_vector
from royalty.models.base.errors import InputError
from royalty.models.valuation.covariances import Rows
from royalty.models.valuation.interacting import FittedGame, fit_game_credit, fit_interacting, observe
from royalty.models.valuation.pairs import pairs_of, widening
from royalty.models.valuation.regression import to_units
from royalty.models.valuation.repeats import checked_repeats
from royalty.models.valuation.shapley import ShapleyEstimate, shapley_of

_CHUNK = 500
"""Coalitions predicted at once, whose covariances with the measured ones are in memory."""


@dataclass(frozen=True)
class Predictions:
    """Utilities of coalitions; higher is better.

    Attributes:
        values: `(coalitions,)`.
        stderr: `(coalitions,)`, of the utility without the noise of a measurement.
        noise: `(coalitions,)`, standard deviation of the noise of a measurement.
        ci_low, ci_high: `(coalitions,)`, ends of the interval for the utility without noise.
    """

    values: np.ndarray
    stderr: np.ndarray
    noise: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray


@dataclass(frozen=True)
class Game:
    """A fitted game.

    Attributes:
        shapley: credit of each contributor, with intervals; it sums to the utility of the grand coalition minus that of
            the empty one.
        interactions: `(n, n)`, symmetric, in units of the utility: what two contributors add together, minus what they
            add separately. Negative: substitutes, who provide alike. Positive: complements. It is the mean of
            v(S+i+j) - v(S+i) - v(S+j) + v(S) over the sizes 1 to n - 3 of S, so the jump from the empty coalition is
            not in it. Diminishing returns of size that all pairs share are. Zero on the diagonal.
        interactions_stderr: `(n, n)`; infinite where no interaction is estimated, and on the diagonal.
        interactions_low, interactions_high: `(n, n)`, ends of the intervals.
        unresolved: bool, `(n, n)`: pairs about which the coalitions say nothing. Their interval is that of an average
            pair.
        diagnostics: `noise` (standard deviation of a utility); `interactions_share`, the fraction of the variance of
            utilities, beyond the size's, from interactions; `why`, why some pairs are unresolved.
    """

    shapley: ShapleyEstimate
    interactions: np.ndarray
    interactions_stderr: np.ndarray
    interactions_low: np.ndarray
    interactions_high: np.ndarray
    unresolved: np.ndarray
    diagnostics: dict[str, float | str]
    _predict: Callable[[np.ndarray], Predictions] = field(repr=False)

    def predict(self, masks: ArrayLike) -> Predictions:
        """Predict the utilities of coalitions, measured or not.

        The empty and the grand coalition have the utilities that were given.

        Args:
            masks: True or 1 where a contributor is in a coalition, `(coalitions, n)`.

        Raises:
            InputError: another number of contributors.
        """
        masks, n_players = as_masks(masks, "masks"), len(self.interactions)
        if masks.shape[1] != n_players:
            raise InputError(
                f"the game has {n_players} contributors, and `masks` has a column for each; got {masks.shape[1]} "
                "columns. Give masks over the contributors of the fit"
            )
        return self._predict(masks)


def fit_game(
    masks: ArrayLike,
    utilities: ArrayLike,
    null_utility: SupportsFloat,
    grand_utility: SupportsFloat,
    *,
    seed: SupportsIndex = 0,
    seeds: ArrayLike | None = None,
    draws: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Game:
    """Fit a game with main effects, interactions and effects of size, jointly.

    Utilities are a cubic of the coalition's size, plus main effects, interactions of two to six contributors, main
    effects that vary with size, and noise that may grow with size. Effects of one kind are draws from a normal
    distribution whose variance maximizes the evidence, so that interactions are shrunk to zero as far as the
    measurements suggest, and contributors who interact strongly in pairs have larger interactions of all orders.
    Differences within pairs of complementary coalitions tell about credit, and their sums about interactions of two.
    The empty and the grand coalition have their own utilities, which the size does not have to explain.

    Where the coalitions cannot tell a pair, because the two are always together or never, or because they are too few,
    its interaction stays near the mean of all pairs with the interval of an average pair, and it is `unresolved`. With
    fewer than four contributors, no interaction is estimated.

    Args:
        masks: True or 1 where a contributor is in a coalition, False or 0 elsewhere, `(m, n)`, without the empty and
            the grand coalition.
        utilities: `(m,)`, v(S) of each row, in any unit; higher is better.
        null_utility: v0, utility of the empty coalition.
        grand_utility: v1, utility of the grand coalition.
        seed: of the choice of the coalitions from which variances are estimated, if there are more than 280.
        seeds: `(m,)`, training seed of each row, if coalitions were measured with several.
        draws: `(m,)`, seed of the generated images of each row, likewise.
        confidence: of the intervals, in (0, 1).

    Raises:
        InputError: as `estimate_shapley`; more than 12,000 coalitions in pairs, or 6,000 without complements.

    Returns:
        Credit, interactions and predictions in the units of the utility.

    Examples:
        Two contributors provide the same, two others provide things that need each other:

        >>> import numpy as np
        >>> import royalty
        >>> masks = royalty.sample_coalitions(6, 40, seed=0)
        >>> a, b, c, d, e, f = masks.T.astype(int)
        >>> game = royalty.fit_game(masks, (a | b) + (c & d) + 0.5 * e, null_utility=0, grand_utility=2.5)
        >>> bool(game.interactions_high[0, 1] < 0), bool(game.interactions_low[2, 3] > 0)
        (True, True)
        >>> game.predict([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]]).values.round(1).tolist()
        [1.0, 1.0]
    """
    if not 0 < confidence < 1:
        raise InputError(f"the confidence of an interval lies between 0 and 1, got {confidence}; 0.95 is usual")
    masks, utilities = as_masks(masks, "masks"), as_vector(utilities, "utilities")
    null, grand = as_number(null_utility, "null_utility"), as_number(grand_utility, "grand_utility")
    seeds, draws = as_labels(seeds, "seeds"), as_labels(draws, "draws")
    repeats = checked_repeats(masks, utilities, null, grand, seeds, draws, ridge=0.0)
    units = to_units(repeats.masks, repeats.utilities)
    fitted = fit_interacting(observe(units, repeats), seed=as_seed(seed))
    credit = shapley_of(
        units,
        repeats,
        grand - null,
        lambda: ("game", "asked for", fit_game_credit(units, fitted)),
        rows=len(masks),
        confidence=confidence,
        n_bootstrap=0,  # the fit has its variance
        seed=0,
    )
    reach = float(stdtrit(fitted.posterior.freedom, (1 + confidence) / 2))
    pairs = pairs_of(fitted, repeats.masks)
    width = reach * pairs.stderr * widening(pairs.left_share, confidence)

    def predict(wanted: np.ndarray) -> Predictions:
        return _predictions(fitted, wanted, (null, grand), reach)

    return Game(
        shapley=credit,
        interactions=pairs.values,
        interactions_stderr=pairs.stderr,
        interactions_low=pairs.values - width,
        interactions_high=pairs.values + width,
        unresolved=pairs.unresolved,
        diagnostics={
            "noise": math.sqrt(fitted.posterior.noise),
            "interactions_share": fitted.posterior.share_of_interactions,
            "why": pairs.why,
        },
        _predict=predict,
    )


def _predictions(fitted: FittedGame, masks: np.ndarray, ends: tuple[float, float], reach: float) -> Predictions:
    posterior, observed = fitted.posterior, fitted.posterior.observed.rows
    values, variance = np.zeros(len(masks)), np.zeros(len(masks))
    for start in range(0, len(masks), _CHUNK):
        chunk, rows = slice(start, start + _CHUNK), Rows.of_coalitions(masks[start : start + _CHUNK])
        values[chunk], variance[chunk], _ = fitted.evaluate(lambda space, rows=rows: space.predictions(rows, observed))  # type: ignore[misc]
    sizes = masks.sum(axis=1)
    nobody, everybody = sizes == 0, sizes == masks.shape[1]
    values = np.where(nobody, ends[0], np.where(everybody, ends[1], values))
    stderr = np.where(nobody | everybody, 0.0, np.sqrt(variance))
    noise = np.sqrt(posterior.noise_at(np.clip(sizes, 1, masks.shape[1] - 1)))
    return Predictions(values, stderr, noise, values - reach * stderr, values + reach * stderr)
