"""P-values of scores against those of clean items, and the selection of items at a false discovery rate.

A clean training item and a clean item that the fit did not see are scored alike, so that the rank of one among the
others is a p-value (conformal prediction, Vovk et al. 2005). A rank is never below 1 / (n + 1), which is too coarse to
select a few of many items; so the lowest tenth of the clean scores is continued by an exponential tail. If k scores
below a threshold have a mean excess m, another one is lower by more than x with probability (1 + x / (k m))^-k: the
exponential distribution, with the uncertainty of its mean.

Scores of a set that may be faulty in part are compared with that set: its lowest scores count as clean, but their
values are not used. The exponential tail is fitted to the tenth above them by its censored likelihood. P-values are too
small if clean scores have a heavier tail.
"""

from __future__ import annotations

import numpy as np

TAIL = 0.1
"""Fraction of the clean scores whose mean excess gives the exponential tail."""

LEAST_TAIL = 10
"""Fewest clean scores of a tail; with no more than these, p-values are ranks alone."""


def p_values(
    scores: np.ndarray, clean: np.ndarray, *, weights: np.ndarray | None = None, censored: float = 0.0
) -> np.ndarray:
    """The probability that a clean item has a score as low as each of the scores: `(items,)`, in (0, 1].

    Args:
        scores: `(items,)`, higher is cleaner.
        clean: `(n,)`, scores of clean items that the fit did not see.
        weights: `(n,)`, of the clean items, above 0; equal by default.
        censored: fraction of `clean` whose values are not used, those of the lowest scores, in [0, 0.5).
    """
    count = len(clean)
    order = np.argsort(clean, kind="stable")
    ordered = clean[order]
    shares = np.full(count, 1.0) if weights is None else weights[order] * (count / weights.sum())
    mass = np.concatenate([[0.0], np.cumsum(shares)])  # of the lowest 0, 1, ..., n
    at_most = mass[np.searchsorted(ordered, scores, side="right")]
    p: np.ndarray = np.minimum((1 + at_most) / (count + 1), 1.0)
    first = int(np.searchsorted(mass, censored * count))
    length = int(np.searchsorted(mass, mass[first] + max(LEAST_TAIL, TAIL * count)))
    if length < count:
        threshold, seen = ordered[length], shares[first:length]
        excess = float(np.average(threshold - ordered[first:length], weights=seen))
        excess += mass[first] / seen.sum() * (threshold - ordered[first])
        below = scores < threshold
        if excess > 0:
            alike = seen.sum() ** 2 / np.square(seen).sum()  # as many equal weights
            p[below] = mass[length] / count * (1 + (threshold - scores[below]) / (alike * excess)) ** -alike
    np.maximum(p, np.finfo(np.float64).tiny, out=p)
    return p


def own_p_values(scores: np.ndarray, trim: float) -> np.ndarray:
    """P-values of scores against each other, of which the lowest may be those of faulty items: `(items,)`, in (0, 1].

    The lowest fraction `trim` is censored. If k items have a p-value of at most p, and only clean items had p-values as
    low by chance, there are about (k - n p) / (1 - p) faulty ones (Meinshausen and Rice 2006, without their bound for
    the error). The largest of these numbers, of the lowest scores, is taken out, and p-values are computed again. This
    is done once: repeated, it takes out the tail of the clean items, too.

    Args:
        scores: `(items,)`, higher is cleaner.
        trim: largest fraction of faulty items, in [0, 0.5).
    """
    count, most = len(scores), int(trim * len(scores))
    first = p_values(scores, scores, censored=trim)
    lowest = np.minimum(np.sort(first)[:most], 0.999)  # scores that are all equal have p-values of 1
    excess = (np.arange(1, most + 1) - count * lowest) / (1 - lowest)
    faulty = min(int(excess.max(initial=0.0)), most)
    rest = np.sort(scores)[faulty:]
    return p_values(scores, rest, censored=(trim * count - faulty) / len(rest))


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
