"""Shapley values of retrained models from many cheap utilities and a few retrained ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from royalty.models.base.arrays import as_masks, as_number, as_vector
from royalty.models.base.choices import Estimator
from royalty.models.base.errors import InputError
from royalty.models.valuation.shapley import ShapleyEstimate, estimate_shapley

_ATTEMPTS = 100
"""Random choices of coalitions to retrain that are tried."""


@dataclass(frozen=True)
class Utilities:
    """Utilities of coalitions at one fidelity, and those of nobody and of everybody.

    Attributes:
        masks: bool, `(coalitions, n)`, distinct, without nobody and everybody.
        values: `(coalitions,)`.
    """

    masks: np.ndarray
    values: np.ndarray
    null: float
    grand: float


@dataclass(frozen=True)
class MultiFidelity:
    """Credit that is corrected by retrained models.

    Attributes:
        corrected: Shapley values of the retrained game.
        cheap: Shapley values of the cheap game.
        correction: Shapley values of retrained minus cheap utilities.
        slope: what the cheap values are multiplied by before the correction; 1 without `scaled`.
    """

    corrected: ShapleyEstimate
    cheap: ShapleyEstimate
    correction: ShapleyEstimate
    slope: float


def least_retrained(n_players: int) -> int:
    """Fewest retrained coalitions from which a correction is estimated: a trend of the size, and the contributors.

    They should not be complements of each other: at so few, a pair says little more than one coalition.
    """
    return n_players + 3


def choose_retrained(masks: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Choose the coalitions to retrain at random: no two complements while there are others, and everybody in some.

    Args:
        masks: bool, `(coalitions, n)`, distinct.
        count: at most the number of coalitions.

    Returns:
        Rows of `masks`, `(count,)`.

    Raises:
        InputError: no choice was found in which each contributor is in some coalitions and not in others.
    """
    for attempt in range(_ATTEMPTS):
        order = np.random.default_rng([seed, attempt]).permutation(len(masks))
        seen: set[bytes] = set()
        single: list[int] = []
        complements: list[int] = []
        for row in order.tolist():
            (complements if (~masks[row]).tobytes() in seen else single).append(row)
            seen.add(masks[row].tobytes())
        rows = np.array([*single, *complements][:count], dtype=int)
        present = masks[rows].sum(axis=0)
        if ((present > 0) & (present < len(rows))).all():
            return rows
    raise InputError(
        f"each contributor is in some retrained coalitions and not in others, and no {count} of {len(masks)} were "
        "found for which this holds; retrain more"
    )


def multifidelity_shapley(
    cheap: Utilities,
    retrained: Utilities,
    *,
    estimator: Estimator = "mixed",
    scaled: bool = False,
    confidence: float = 0.95,
    seed: int = 0,
) -> MultiFidelity:
    """Estimate the Shapley values of retrained models with cheap ones as a control variate.

    Shapley values are linear in the game, so that those of the retrained game are those of the cheap game plus those of
    the difference: phi(v) = phi(c) + phi(v - c). The first term comes from many cheap coalitions, the second from few
    that are measured at both fidelities. If cheap utilities follow the retrained ones, differences vary little, and few
    suffice. With `scaled`, the cheap game is first multiplied by the slope of a regression of retrained on cheap
    utilities, which helps where cheap utilities move less than retrained ones do.

    The variances of the two terms add. The errors of the terms share the noise of the cheap utilities that are in both,
    with opposite signs, so that the sum is an upper bound where both draw on the same coalitions.

    Args:
        cheap: at least as many coalitions as `estimate_shapley` takes.
        retrained: of coalitions that are among the cheap ones, at least `least_retrained`.
        estimator: of both terms.

    Raises:
        InputError: too few retrained coalitions, one that is not among the cheap ones, or as `estimate_shapley`.
    """
    _check(cheap, retrained)
    place = {mask.tobytes(): row for row, mask in enumerate(cheap.masks)}
    rows = np.array([place[mask.tobytes()] for mask in retrained.masks])
    paired = cheap.values[rows]
    slope = 1.0
    if scaled and paired.std() > 0:
        slope = float(np.cov(paired, retrained.values, ddof=1)[0, 1] / paired.var(ddof=1))
    first = estimate_shapley(
        cheap.masks, slope * cheap.values, slope * cheap.null, slope * cheap.grand,
        estimator=estimator, confidence=confidence, seed=seed,
    )  # fmt: skip
    second = estimate_shapley(
        retrained.masks,
        retrained.values - slope * paired,
        retrained.null - slope * cheap.null,
        retrained.grand - slope * cheap.grand,
        estimator=estimator,
        confidence=confidence,
        seed=seed,
    )
    values, total = first.values + second.values, retrained.grand - retrained.null
    corrected = ShapleyEstimate.about(
        values,
        np.hypot(first.stderr, second.stderr),
        freedom=max(len(retrained.masks) - retrained.masks.shape[1], 2),  # the correction rests on fewest measurements
        confidence=confidence,
        n_evaluations=first.n_evaluations + second.n_evaluations,
        diagnostics={
            "efficiency_gap": float(abs(values.sum() - total)),
            "estimator": estimator,
            "why": f"corrected by {len(retrained.masks)} retrained coalitions",
        },
    )
    return MultiFidelity(corrected, first, second, slope)


def as_utilities(masks: ArrayLike, values: ArrayLike, null: float, grand: float) -> Utilities:
    """Check arrays of one fidelity.

    Raises:
        InputError: they are not masks and numbers of the same coalitions, or a coalition is twice in them.
    """
    checked, numbers = as_masks(masks, "masks"), as_vector(values, "values")
    if numbers.shape != (len(checked),):
        raise InputError(
            f"each coalition has one utility; got {len(checked)} coalitions and {len(numbers)} utilities. Give one of "
            "each"
        )
    if len(np.unique(checked, axis=0)) < len(checked):
        raise InputError("each coalition is given once at a fidelity; some are given twice. Give their means")
    return Utilities(checked, numbers, as_number(null, "null"), as_number(grand, "grand"))


def _check(cheap: Utilities, retrained: Utilities) -> None:
    n_players, least = cheap.masks.shape[1], least_retrained(cheap.masks.shape[1])
    if retrained.masks.shape[1] != n_players:
        raise InputError(
            f"both fidelities have the same contributors; got {n_players} and {retrained.masks.shape[1]}. Give masks "
            "over the same ones"
        )
    if len(retrained.masks) < least:
        raise InputError(
            f"a correction of {n_players} contributors takes at least {least} retrained coalitions, got "
            f"{len(retrained.masks)}; retrain more"
        )
    known = {mask.tobytes() for mask in cheap.masks}
    if missing := sum(mask.tobytes() not in known for mask in retrained.masks):
        raise InputError(
            f"retrained coalitions are compared with cheap models of the same coalitions, and {missing} of "
            f"{len(retrained.masks)} have none; measure them at both fidelities"
        )
