"""P-values of scores against those of clean items, and the selection of items at a false discovery rate.

A clean training item and a clean item that the fit did not see are scored alike, so that the rank of one among the
others is a p-value (conformal prediction, Vovk et al. 2005). A rank is never below 1 / (n + 1), which is too coarse to
select a few of many items; so the lowest tenth of the clean scores is continued by an exponential tail. If k scores
below a threshold have a mean excess m, another one is lower by more than x with probability (1 + x / (k m))^-k: the
exponential distribution, with the uncertainty of its mean.
"""

from __future__ import annotations

import numpy as np

TAIL = 0.1
"""Fraction of the clean scores whose mean excess gives the exponential tail."""

LEAST_TAIL = 10
"""Fewest clean scores of a tail; with no more than these, p-values are ranks alone."""


def p_values(scores: np.ndarray, clean: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """The probability that a clean item has a score as low as each of the scores: `(items,)`, in (0, 1].

    Args:
        scores: `(items,)`, higher is cleaner.
        clean: `(n,)`, scores of clean items that the fit did not see.
        weights: `(n,)`, of the clean items, above 0; equal by default.
    """
    count = len(clean)
    order = np.argsort(clean, kind="stable")
    ordered = clean[order]
    shares = np.full(count, 1.0) if weights is None else weights[order] * (count / weights.sum())
    mass = np.concatenate([[0.0], np.cumsum(shares)])  # of the lowest 0, 1, ..., n
    at_most = mass[np.searchsorted(ordered, scores, side="right")]
    p: np.ndarray = np.minimum((1 + at_most) / (count + 1), 1.0)
    length = int(np.searchsorted(mass, max(LEAST_TAIL, TAIL * count)))
    if length < count:
        threshold = ordered[length]
        excess = float(np.average(threshold - ordered[:length], weights=shares[:length]))
        below = scores < threshold
        if excess > 0:
            alike = shares[:length].sum() ** 2 / np.square(shares[:length]).sum()  # as many equal weights
            p[below] = mass[length] / count * (1 + (threshold - scores[below]) / (alike * excess)) ** -alike
    np.maximum(p, np.finfo(np.float64).tiny, out=p)
    return p


def clean_p_values(clean: np.ndarray) -> np.ndarray:
    """The p-value of each clean item against all others: `(n,)`, in (0, 1].

    An item that took part in its own tail would make the tail longer, and look less extreme than a training item that
    is as low.

    Args:
        clean: `(n,)`, scores of clean items, higher is cleaner.
    """
    count = len(clean)
    ordered = np.sort(clean)
    at_most = np.searchsorted(ordered, clean, side="right")  # the item itself included
    p: np.ndarray = at_most / count
    length = int(np.ceil(max(LEAST_TAIL, TAIL * (count - 1))))
    if length + 1 < count:
        threshold = ordered[length + 1]  # of the others, for every item below it
        below = clean < threshold
        excess = threshold - (ordered[: length + 1].sum() - clean[below]) / length
        far = (threshold - clean[below]) / np.maximum(length * excess, np.finfo(np.float64).tiny)
        tail = length / (count - 1) * (1 + far) ** -float(length)
        p[below] = np.where(excess > 0, tail, p[below])
    np.maximum(p, np.finfo(np.float64).tiny, out=p)
    return p


def selected(p: np.ndarray, fdr: float) -> np.ndarray:
    """The items that are rejected at a false discovery rate: bool, `(items,)` (Benjamini and Hochberg 1995).

    Args:
        p: `(items,)`, p-values.
        fdr: largest expected fraction of clean items among the selected ones, in (0, 1).
    """
    ordered = np.sort(p)
    passing = np.flatnonzero(ordered <= fdr * np.arange(1, len(p) + 1) / len(p))
    chosen: np.ndarray = p <= ordered[passing[-1]] if len(passing) else np.zeros(len(p), dtype=bool)
    return chosen
