"""Controls for the linear datamodeling score: what ranks coalitions without estimating anybody's credit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from royalty.models.judging.ranking import HeldOutRanking

RANDOM_DRAWS = 100
"""Draws of random credit."""

FOLDS = 5
"""Folds in which a bit is chosen if there is one set of coalitions."""


def best_bit(masks: np.ndarray, utilities: np.ndarray, groups: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """Predict coalitions by whether they contain one contributor, the one whose presence says most.

    If this ranks coalitions as well as credit does, a high score shows that credit found one contributor, and not that
    it orders the others. The contributor, and whether it raises or lowers the utility, come from coalitions of the
    other sets; if there is one set, from the other fifths of it.

    Args:
        masks: bool, `(coalitions, n)`, of one size.
        utilities: `(coalitions,)`.
        groups: `(coalitions,)`, within which coalitions are ranked.
        sets: `(coalitions,)`, the independent set of each coalition.

    Returns:
        `(coalitions,)`, 1 or -1; higher predicts a higher utility.
    """
    centred = utilities.copy()
    for group in np.unique(groups):
        centred[groups == group] -= utilities[groups == group].mean()
    folds = sets if len(np.unique(sets)) > 1 else np.arange(len(masks)) % FOLDS
    predicted = np.zeros(len(masks))
    for fold in np.unique(folds):
        inside = folds == fold
        others, values = masks[~inside], centred[~inside]
        present, absent = others.sum(axis=0), (~others).sum(axis=0)  # (n,)
        within = others.T @ values / np.maximum(present, 1)  # mean utility of the coalitions with each contributor
        without = (~others).T @ values / np.maximum(absent, 1)
        explained = present * within**2 + absent * without**2  # between sum of squares
        bit = int(explained.argmax())
        predicted[inside] = np.where(masks[inside, bit], 1, -1) * np.sign(within[bit] - without[bit])
    return predicted


@dataclass(frozen=True)
class ChanceRange:
    """What credit that knows nothing scores: the mean of random draws, and the range of 95% of them."""

    lds: float
    low: float
    high: float


def random_credit(ranking: HeldOutRanking, masks: np.ndarray, *, seed: int) -> ChanceRange:
    """Score credit that is drawn from a normal distribution.

    Args:
        masks: bool, `(coalitions, n)`, of the coalitions of `ranking`.
    """
    generator = np.random.default_rng(seed)
    scores = [ranking.correlation(masks @ generator.normal(size=masks.shape[1])) for _ in range(RANDOM_DRAWS)]
    low, high = np.quantile(scores, [0.025, 0.975])
    return ChanceRange(float(np.mean(scores)), float(low), float(high))
