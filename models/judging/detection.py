"""How well a ranking of items finds the planted ones: what a method of valuation is measured by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from royalty.models.base.errors import InputError


@dataclass(frozen=True)
class Detection:
    """What is found by looking at items from the lowest value up; where values tie, what is expected of a draw.

    Attributes:
        rates: share of the planted items among the k of lowest value, k = 1..n; `(n,)`, the last is 1.
        auroc: probability that a planted item has a lower value than another one, ties counted half; 0.5 is
            chance, 1 is best.
        first_fifth: the rate at a fifth of the items; 0.2 is chance.
    """

    rates: np.ndarray
    auroc: float
    first_fifth: float

    def curve(self, points: int = 200) -> list[float]:
        """The rates at that many numbers of items, evenly spaced from the first item to the last; all, if fewer."""
        chosen = np.linspace(0, len(self.rates) - 1, min(points, len(self.rates))).astype(int)
        return [float(rate) for rate in self.rates[chosen]]


def detection(values: np.ndarray, planted: np.ndarray) -> Detection:
    """Measure values, of which the planted items should have the lowest.

    Args:
        values: `(items,)`, higher is better; infinite ones are in order too.
        planted: bool, `(items,)`.

    Raises:
        InputError: not one value an item, a value that is not a number, or no planted or no other item.
    """
    if values.ndim != 1 or planted.shape != values.shape or planted.dtype != np.bool_:
        raise InputError(
            "each item has one value and is planted or not; got values of shape "
            f"{values.shape} and {planted.dtype} marks of shape {planted.shape}"
        )
    if np.isnan(values).any():
        raise InputError(f"values are numbers, so that they have an order; item {np.isnan(values).argmax()} has nan")
    found = int(planted.sum())
    if not 0 < found < len(planted):
        raise InputError(
            f"planted items are told from others, so there are both; {found} of {len(planted)} are planted"
        )
    distinct, level = np.unique(values, return_inverse=True)
    bad = np.bincount(level, weights=planted, minlength=len(distinct))  # planted at each level, from the lowest
    clean = np.bincount(level, weights=~planted, minlength=len(distinct))
    seen = np.concatenate([[0], np.cumsum(bad + clean)])  # (levels + 1,)
    share = np.concatenate([[0], np.cumsum(bad)]) / found
    # Within a level any order is as likely, so what is found grows in proportion to what is looked at.
    rates = np.interp(np.arange(1, len(values) + 1), seen, share)
    above = clean.sum() - np.cumsum(clean)
    auroc = float(bad @ (above + clean / 2)) / (found * (len(values) - found))
    return Detection(rates, auroc, float(np.interp(len(values) / 5, seen, share)))
