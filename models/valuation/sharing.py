"""How an image is shared among its nearest items, and the temperature that decides it."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import entr, logsumexp

BISECTIONS = 60
"""Halvings of the interval of log temperatures; more than 50 change nothing in float64."""

REACH = 1e6
"""Temperatures are sought from the spread of the distances divided by this number, to the spread times it."""


def softmin(distances: np.ndarray, temperature: float) -> np.ndarray:
    """Normalize exp(-d / T) in each row, without overflow or underflow: rows sum to one for any d / T.

    Args:
        distances: `(rows, k)`, finite, ascending in each row.
    """
    with np.errstate(over="ignore"):  # a difference that overflows has a share of 0
        logits = (distances[:, :1] - distances) / temperature
    shares: np.ndarray = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    return shares


def effective_neighbours(shares: np.ndarray) -> np.ndarray:
    """exp of the entropy of the shares in each row, float64, `(rows,)`, from 1 to k.

    Args:
        shares: `(rows, k)`, rows sum to one.
    """
    effective: np.ndarray = np.exp(entr(shares).sum(axis=1))
    return effective


def neighbours_asked(k: int) -> float:
    """The effective number of items among which k nearest items should share an image: the root of k.

    As for nearest neighbours in general, the number grows with k and its fraction of k falls.
    """
    return math.sqrt(k)


def temperature_of(distances: np.ndarray, effective: float) -> float:
    """The temperature at which the mean of `effective_neighbours` over the rows is `effective`.

    The mean grows with the temperature, so the solution is found by bisection. The result has the units of the
    distances: distances multiplied by a factor give the temperature multiplied by it, and the same shares.

    Args:
        distances: `(rows, k)`, finite, ascending in each row.
        effective: from 1 to k.

    Returns:
        A positive temperature. Where no temperature reaches the number, as if several items are equally near, the
        nearest that is possible; where all distances of each row are equal, 1, because every temperature divides alike.
    """
    spread = float((distances[:, -1] - distances[:, 0]).mean())
    if not spread > 0:
        return 1.0
    lower, upper = math.log(spread / REACH), math.log(spread * REACH)
    for _ in range(BISECTIONS):
        middle = (lower + upper) / 2
        if effective_neighbours(softmin(distances, math.exp(middle))).mean() < effective:
            lower = middle
        else:
            upper = middle
    return math.exp((lower + upper) / 2)
