"""How well values, and flags, reveal planted items: the measures of methods in the detection benchmark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from royalty.models.base.errors import InputError


@dataclass(frozen=True)
class Detection:
    """Planted items found by inspecting items in order of value, lowest first; ties are broken at random, on average.

    Attributes:
        rates: share of the planted items that are among the k items of lowest value, k = 1..n; `(n,)`, the last is 1.
        auroc: probability that a planted item has a lower value than an item that is not planted, where a tie counts
            half; 0.5 is chance, 1 is best.
        first_fifth: the rate after one fifth of the items; 0.2 is chance.
        planted: number of planted items.
    """

    rates: np.ndarray
    auroc: float
    first_fifth: float
    planted: int

    def among_first(self, count: int) -> float | None:
        """The number of planted items among so many items of lowest value; None if there are no more items."""
        return float(self.rates[count - 1]) * self.planted if count < len(self.rates) else None

    def curve(self, points: int = 200) -> list[float]:
        """The rates at evenly spaced numbers of items, from 1 to all; all rates if there are at most `points`."""
        indices = np.linspace(0, len(self.rates) - 1, min(points, len(self.rates))).astype(int)
        return [float(rate) for rate in self.rates[indices]]


def detection(values: np.ndarray, planted: np.ndarray) -> Detection:
    """Measure how well values reveal planted items, which should have the lowest values.

    Args:
        values: `(items,)`, higher is better; may be infinite.
        planted: bool, `(items,)`.

    Raises:
        InputError: the shapes differ, a value is nan, or all items are planted or none is.
    """
    if values.ndim != 1 or planted.shape != values.shape or planted.dtype != np.bool_:
        raise InputError(
            "each item has one value and one bool that says whether it is planted; got values of shape "
            f"{values.shape} and {planted.dtype} marks of shape {planted.shape}"
        )
    if np.isnan(values).any():
        raise InputError(
            f"values must be numbers to be ranked; item {np.isnan(values).argmax()} has nan. Remove that item"
        )
    n_planted = int(planted.sum())
    if not 0 < n_planted < len(planted):
        raise InputError(f"detection needs planted items and others; {n_planted} of {len(planted)} items are planted")
    levels, level = np.unique(values, return_inverse=True)
    bad = np.bincount(level, weights=planted, minlength=len(levels))  # planted items at each level, lowest first
    clean = np.bincount(level, weights=~planted, minlength=len(levels))
    inspected = np.concatenate([[0], np.cumsum(bad + clean)])  # (levels + 1,)
    share = np.concatenate([[0], np.cumsum(bad)]) / n_planted
    # All orders within a level are equally likely, so the expected share grows linearly within it.
    rates = np.interp(np.arange(1, len(values) + 1), inspected, share)
    above = clean.sum() - np.cumsum(clean)
    auroc = float(bad @ (above + clean / 2)) / (n_planted * (len(values) - n_planted))
    return Detection(rates, auroc, float(np.interp(len(values) / 5, inspected, share)), n_planted)


@dataclass(frozen=True)
class Discoveries:
    """Flagged items of which some are planted.

    Attributes:
        flagged: their number.
        fdp: the false discovery proportion, the fraction of them that is not planted; 0 if nothing is flagged.
        power: the fraction of the planted items that is flagged.
    """

    flagged: int
    fdp: float
    power: float


def discoveries(flagged: np.ndarray, planted: np.ndarray) -> Discoveries:
    """Measure which of the flagged items are planted.

    Args:
        flagged, planted: bool, `(items,)`.

    Raises:
        InputError: the arrays are no such marks, or no item is planted.
    """
    if flagged.shape != planted.shape or flagged.dtype != np.bool_ or planted.dtype != np.bool_:
        raise InputError(
            "each item has one mark that says whether it is flagged, and one whether it is planted; got "
            f"{flagged.dtype} marks of shape {flagged.shape} and {planted.dtype} marks of shape {planted.shape}"
        )
    if not planted.any():
        raise InputError(f"discoveries are of planted items; none of {len(planted)} is planted. Plant some")
    right, count = int((flagged & planted).sum()), int(flagged.sum())
    return Discoveries(count, 1 - right / count if count else 0.0, right / int(planted.sum()))
