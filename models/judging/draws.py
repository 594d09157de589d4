"""A measure over several random draws: its mean, with an interval and a test against zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t


@dataclass(frozen=True)
class OverDraws:
    """A mean over draws.

    Attributes:
        low, high: ends of the 95% interval by Student's distribution; nan for a single draw.
        p: of the two-sided test that the mean is zero; nan for a single draw.
    """

    mean: float
    low: float
    high: float
    p: float


def over_draws(values: Sequence[float]) -> OverDraws:
    """Mean of a measure, or of the differences of two methods, over draws.

    Args:
        values: one for each draw, at least one.
    """
    array = np.asarray(values, dtype=np.float64)
    mean, count = float(array.mean()), len(array)
    if count == 1:
        return OverDraws(mean, np.nan, np.nan, np.nan)
    error = float(array.std(ddof=1)) / count**0.5
    half = float(t.ppf(0.975, count - 1)) * error
    if error == 0:
        return OverDraws(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    return OverDraws(mean, mean - half, mean + half, float(2 * t.sf(abs(mean) / error, count - 1)))
