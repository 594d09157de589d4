"""How cheap models agree with retrained ones: utilities, images, and what they show of absent contributors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from royalty.models.judging.datamodeling import MIN_RANKED


@dataclass(frozen=True)
class Agreement:
    """How cheap utilities agree with retrained ones, on coalitions that have both.

    Attributes:
        spearman: rank correlation, in [-1, 1]; higher is better. None for fewer than three coalitions, or if either
            does not vary.
        bias: mean of cheap minus retrained utility, in units of the utility.
        error: root mean square of the differences about the bias.
        spread: standard deviation of the retrained utilities, which `error` compares with.
        coalitions: their number.
    """

    spearman: float | None
    bias: float
    error: float
    spread: float
    coalitions: int


def agreement(cheap: np.ndarray, retrained: np.ndarray) -> Agreement:
    """Compare utilities of the same coalitions, `(coalitions,)` each, at least one."""
    gaps = cheap - retrained
    varied = len(gaps) >= MIN_RANKED and np.ptp(cheap) > 0 and np.ptp(retrained) > 0
    return Agreement(
        spearman=float(np.corrcoef(rankdata(cheap), rankdata(retrained))[0, 1]) if varied else None,
        bias=float(gaps.mean()),
        error=float(gaps.std()),
        spread=float(retrained.std()),
        coalitions=len(gaps),
    )


def leak(probabilities: np.ndarray, present: np.ndarray) -> float:
    """Fraction of a model's images that show classes which no member of its coalition has, in [0, 1]; lower is better.

    Args:
        probabilities: `(images, classes)`, by a classifier; an image shows the class of the highest one.
        present: bool, `(classes,)`, whether a member has images of a class.
    """
    return float((~present[probabilities.argmax(axis=1)]).mean())
