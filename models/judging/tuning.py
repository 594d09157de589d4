"""Choose among settings of cheap models: the fastest that predict retrained models about as well as the best do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST = 6
"""Coalitions that a comparison takes at least."""


@dataclass(frozen=True)
class Comparison:
    """How well cheap utilities predict retrained ones, by candidate.

    Attributes:
        errors: `(candidates,)`, mean squared error of the retrained utility of a coalition, predicted by a line through
            the cheap and retrained utilities of all others. In units of the error of their mean, so that 1 says that
            cheap utilities predict nothing; lower is better.
        stderr: `(candidates,)`, standard error of each, as the mean over coalitions.
        chosen: the fastest candidate whose error exceeds the smallest by no more than the standard error of that; None
            if no error is below 1.
    """

    errors: np.ndarray
    stderr: np.ndarray
    chosen: int | None


def compare_cheap(cheap: np.ndarray, retrained: np.ndarray, seconds: np.ndarray) -> Comparison:
    """Compare candidates on the same coalitions, and choose by the one-standard-error rule (Breiman et al. 1984).

    A slope and an offset between cheap and retrained utilities are no error: they do not change who has more credit.

    Args:
        cheap: `(candidates, coalitions)`.
        retrained: `(coalitions,)`.
        seconds: `(candidates,)`, time of a coalition.

    Raises:
        ValueError: other shapes, numbers that are not finite, fewer than `LEAST` coalitions, or retrained utilities
            that are all the same.
    """
    shapes = cheap.shape, retrained.shape, seconds.shape
    if shapes != ((len(seconds), len(retrained)), (len(retrained),), (len(seconds),)) or not len(seconds):
        raise ValueError(
            f"cheap utilities are (candidates, coalitions), with one retrained utility for each coalition and one time "
            f"for each candidate; got shapes {shapes}. Pass one row for each candidate"
        )
    if not all(np.isfinite(values).all() for values in (cheap, retrained, seconds)):
        raise ValueError("utilities and times are finite numbers; got others. Leave out coalitions that failed")
    if len(retrained) < LEAST:
        raise ValueError(f"candidates are compared on at least {LEAST} coalitions; got {len(retrained)}. Retrain more")
    if np.ptp(retrained) == 0:
        raise ValueError(
            f"the retrained utilities of all {len(retrained)} coalitions are {retrained[0]:g}, so that nothing can be "
            "predicted; choose coalitions or a property that differ"
        )
    alone = float(np.square(_left_out(np.zeros_like(retrained), retrained)).mean())
    squares = np.square([_left_out(row, retrained) for row in cheap]) / alone  # (candidates, coalitions)
    errors, stderr = squares.mean(axis=1), squares.std(axis=1, ddof=1) / np.sqrt(len(retrained))
    best = errors.argmin()
    good = np.flatnonzero(errors <= errors[best] + stderr[best])
    return Comparison(errors, stderr, int(good[seconds[good].argmin()]) if errors[best] < 1 else None)


def _left_out(cheap: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """Residuals of the regression on a line, each of the line through all other points."""
    centred = cheap - cheap.mean()
    spread = float(np.square(centred).sum())
    slope = float(centred @ retrained) / spread if spread > 0 else 0.0
    leverage = 1 / len(cheap) + (np.square(centred) / spread if spread > 0 else np.zeros_like(centred))
    residuals = retrained - retrained.mean() - slope * centred
    # A point of leverage 1 defines the line alone; without it there is none, and the others' mean is the prediction.
    mean = (retrained - retrained.mean()) / (1 - 1 / len(cheap))
    left: np.ndarray = np.where(leverage < 1 - 1e-9, residuals / np.maximum(1 - leverage, 1e-9), mean)
    return left
