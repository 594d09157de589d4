"""How certain credit is, whether that is enough, and how many coalitions would do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from royalty.models.valuation.intervals import pairs_told_apart
from royalty.models.valuation.shapley import ShapleyEstimate

MOST = 100
"""Forecasts end at this many times the coalitions measured so far."""

LEAST_PILOT = 40
"""Coalitions that tell effects from noise: from fewer, intervals look up to 1.7 times as wide as they will be."""


@dataclass(frozen=True)
class Certainty:
    """What the coalitions measured so far tell.

    Attributes:
        coalitions: distinct ones, without nobody and everybody.
        relative_stderr: the largest standard error of a credit over the standard deviation of all credits;
            None where all credits are equal, but not known to be.
        stability: expected share of the contributors of highest credit that a repetition would name again.
        width: mean width of the confidence intervals, in units of the utility.
        excess: mean variance that these coalitions leave over that of as many in perfect balance, 1 or more.
        reached: the target holds; False without one.
        needed: coalitions after which the target is expected to hold; None without one, or if out of reach.
        contributors: number of contributors; 0 in records of earlier versions.
        apart: pairs of contributors whose intervals do not overlap.
    """

    coalitions: int
    relative_stderr: float | None
    stability: float | None
    width: float
    excess: float
    reached: bool
    needed: int | None
    # Records of earlier versions lack these.
    contributors: int = 0
    apart: int = 0

    @property
    def error(self) -> str:
        """Whom the intervals tell apart, and the relative standard error, in words."""
        if self.relative_stderr is None:
            return "all credits are equal so far"
        stderr = f"the largest standard error is {self.relative_stderr:.2f} of the spread of credit"
        pairs = self.contributors * (self.contributors - 1) // 2
        if not pairs:
            return stderr
        if not self.apart:
            return f"no two contributors can be told apart ({stderr})"
        return f"{self.apart} of {pairs} pairs of contributors can be told apart ({stderr})"

    def needed_for(self, fall: float) -> int | None:
        """Coalitions after which standard errors are expected to have fallen to this fraction of those of now.

        Returns:
            None if that takes more coalitions than these contributors form, or more than forecasts reach.
        """
        factors = np.geomspace(1, MOST, 200)
        enough = next((factor for factor in factors if _fall(factor, self.excess) <= fall), None)
        count = None if enough is None else int(np.ceil(self.coalitions * enough / 2) * 2)
        return None if count is None or (self.contributors and count > 2**self.contributors - 2) else count

    def width_at(self, coalitions: int) -> float:
        """Expected mean width of the intervals."""
        return self.width * _fall(coalitions / self.coalitions, self.excess)


def pilot_size(n_players: int) -> int:
    """Coalitions after which certainty is judged first: three a contributor, an even number, and 40 at least."""
    return max(2 * -(-3 * n_players // 2), LEAST_PILOT)


def certainty_of(
    estimate: ShapleyEstimate,
    masks: np.ndarray,
    *,
    stderr: float | None,
    top: int | None,
    stability: float,
    seed: int,
) -> Certainty:
    """Judge an estimate against a target.

    Args:
        masks: bool, `(m, n)`, the coalitions it came from.
        stderr: target for the relative standard error; None: no such target.
        top: how many contributors of highest credit are to be named stably; None: no such target.
        stability: target for the expected share of them that a repetition names again.
        seed: of the draws of repetitions.
    """
    distinct = np.unique(masks, axis=0)
    coalitions, excess = len(distinct), _excess(distinct)
    noise = np.random.default_rng(seed).normal(size=(1000, len(estimate.values)))
    relative = _relative(estimate)

    def meets(scale: float) -> bool:
        good = stderr is None or (relative is not None and relative * scale <= stderr)
        return good and (top is None or _stability(estimate, top, noise * scale) >= stability)

    targeted = stderr is not None or top is not None
    factors = np.geomspace(1, MOST, 200)
    enough = next((factor for factor in factors if meets(_fall(factor, excess))), None) if targeted else None
    return Certainty(
        coalitions=coalitions,
        relative_stderr=relative,
        stability=None if top is None else _stability(estimate, top, noise),
        width=float((estimate.ci_high - estimate.ci_low).mean()),
        excess=excess,
        reached=targeted and meets(1.0),
        needed=None if enough is None else int(np.ceil(coalitions * enough / 2) * 2),
        contributors=len(estimate.values),
        apart=pairs_told_apart(estimate.ci_low, estimate.ci_high),
    )


def _fall(factor: float, excess: float) -> float:
    """Standard errors with so many times the coalitions, over those of now.

    They fall with the square root of the coalitions, and faster at first: few coalitions cannot balance all
    contributors against each other. The excess over balance falls with the square of the coalitions of
    `sample_coalitions`.
    """
    return float(np.sqrt((1 + (excess - 1) / factor**2) / (factor * excess)))


def _excess(masks: np.ndarray) -> float:
    """The mean variance of least squares is that of the inverse information: arithmetic over harmonic mean."""
    centred = masks - masks.mean(axis=1, keepdims=True)
    information = np.linalg.eigvalsh(centred.T @ centred)[1:]  # (n - 1,); of what all share there is none
    if information[0] <= 1e-9 * information[-1]:
        return 1.0  # too few coalitions for least squares: nothing is known of their balance
    return float(information.mean() * (1 / information).mean())


def _relative(estimate: ShapleyEstimate) -> float | None:
    spread, largest = float(estimate.values.std()), float(estimate.stderr.max())
    if largest == 0:
        return 0.0
    return largest / spread if spread > 0 else None


def _stability(estimate: ShapleyEstimate, top: int, noise: np.ndarray) -> float:
    """A repetition errs as much as the estimate does, so the two differ by twice the variance."""
    repeated = estimate.values + np.sqrt(2) * estimate.stderr * noise  # (repetitions, n)
    named = np.argsort(-estimate.values, kind="stable")[:top]
    again = np.argsort(-repeated, axis=1, kind="stable")[:, :top]
    return float(np.isin(again, named).mean())
