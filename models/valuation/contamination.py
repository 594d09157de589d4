"""A mixture of clean and faulty items, fitted to the p-values of training items and of clean items.

Let x_i be minus the logarithms of an item's p-values, one for each kind of fault. Clean items have a density g(x),
known by a sample of them. Faulty ones have the density g(x) exp(w'x) / Z, Z = E_g exp(w'x), an exponential tilt (Qin
1999), so that the log-odds of a fault are log pi/(1 - pi) + w'x - log Z. The weights w say how much each kind of
evidence is worth in this set; pi is the fraction of faulty items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit


@dataclass(frozen=True)
class Prior:
    """What fitted weights are drawn to.

    Attributes:
        start: weights of label, features and features within the class.
        strength: penalty of the squared logarithm of a weight's ratio to its start, in items, for each training item.
    """

    start: tuple[float, float, float]
    strength: float


BY_CLEAN = Prior((0.7, 0.12, 0.12), 0.02)
"""For p-values by clean items. Its strength grows with the items: what the mixture gets wrong does not average out."""

BY_OTHERS = Prior((0.7, 0.07, 0.15), 0.0)
"""For p-values of items by each other, of which features within the class say more than `BY_CLEAN` lets them."""

LEAST_STRENGTH = 10.0
"""Least penalty, in items."""

LEAST, MOST = 0.01, 0.95
"""Range of a weight; at 1, exp(w'x) has no mean for independent p-values of clean items."""

FRACTIONS = (0.005, 0.95)
"""Range of the fraction of faulty items."""

OUTSTANDING = 3.0
"""Deviations above the median of all labels at which a label has a fraction of its own."""

STEPS = 30
"""Steps of expectation and maximization."""


@dataclass(frozen=True)
class Tilt:
    """A fitted mixture.

    Attributes:
        weights: w, `(kinds,)`.
        log_norm: log Z.
        fraction: pi, of all training items.
    """

    weights: np.ndarray
    log_norm: float
    fraction: float

    def log_ratio(self, evidence: np.ndarray) -> np.ndarray:
        """Logarithm of the density of faulty items over that of clean ones, `(items,)`; `evidence` is x."""
        ratio: np.ndarray = evidence @ self.weights - self.log_norm
        return ratio


def fit_tilt(train: np.ndarray, clean: np.ndarray, prior: Prior = BY_CLEAN) -> Tilt:
    """Fit the mixture by expectation and maximization.

    Args:
        train, clean: x of the training items and of clean items, `(items, kinds)` and `(clean items, kinds)`.
    """
    start = np.log(prior.start)
    weights, fraction = np.array(prior.start), 0.1
    strength = max(prior.strength * len(train), LEAST_STRENGTH)
    for _ in range(STEPS):
        faulty = expit(logit(fraction) + Tilt(weights, _log_norm(clean, weights), fraction).log_ratio(train))
        # One faulty and nine clean items are added, so that a set without faults keeps a small fraction.
        fraction = float(np.clip((faulty.sum() + 1) / (len(train) + 10), FRACTIONS[0], 0.6))
        total, seen = float(faulty.sum()), faulty @ train

        def loss(logarithms: np.ndarray, total: float = total, seen: np.ndarray = seen) -> tuple[float, np.ndarray]:
            tried = np.exp(logarithms)
            tilted = np.exp(clean @ tried - (clean @ tried).max())
            expected = tilted @ clean / tilted.sum()
            away = logarithms - start
            value = total * _log_norm(clean, tried) - seen @ tried + strength * away @ away
            return float(value), (total * expected - seen) * tried + 2 * strength * away

        bounds = [(np.log(LEAST), np.log(MOST))] * len(start)
        weights = np.exp(minimize(loss, np.log(weights), jac=True, method="L-BFGS-B", bounds=bounds).x)
    return Tilt(weights, _log_norm(clean, weights), fraction)


def fractions_by_class(
    faulty: np.ndarray, labels: np.ndarray, clean_faulty: np.ndarray, clean_labels: np.ndarray
) -> dict[int, float]:
    """Estimate the fraction of faulty items of each label, by label.

    It is the mean probability of a fault among training items, less that among clean items of the label: some labels
    are harder than others, and their clean items look worse too. Faults are also easier to see in some labels than in
    others; so a label keeps an estimate of its own only if it stands out from the median of all labels by `OUTSTANDING`
    deviations, which cover the spread of the labels (by the median absolute deviation) and the error of the estimate.
    All other labels get the median. The numbers of items of a label have no influence.

    Args:
        faulty, clean_faulty: probabilities of a fault, `(items,)`.
    """
    classes = np.unique(labels)
    sides = [(faulty[labels == label], clean_faulty[clean_labels == label]) for label in classes]
    excess = np.array([train.mean() - clean.mean() for train, clean in sides])
    errors = np.array([train.var() / len(train) + clean.var() / len(clean) for train, clean in sides])
    median = float(np.median(excess))
    spread = 1.4826 * float(np.median(np.abs(excess - median)))
    stands_out = excess - median > OUTSTANDING * np.sqrt(spread**2 + errors)
    fractions = np.clip(np.where(stands_out, excess, median), *FRACTIONS)
    return dict(zip(classes.tolist(), fractions.tolist(), strict=True))


def _log_norm(clean: np.ndarray, weights: np.ndarray) -> float:
    exponents = clean @ weights
    highest = float(exponents.max())
    return highest + float(np.log(np.exp(exponents - highest).mean()))
