"""Measure the certainty of credit, compare it with a target, and forecast how many coalitions reach the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from royalty.models.valuation.intervals import pairs_told_apart
from royalty.models.valuation.shapley import ShapleyEstimate

MOST = 100
"""Forecasts extend to at most this multiple of the coalitions measured so far."""

LEAST_PILOT = 40
"""Smallest number of coalitions in a pilot. With fewer, the estimated intervals are up to 1.7 times too wide."""


@dataclass(frozen=True)
class Certainty:
    """The certainty of credit, estimated from the coalitions measured so far.

    Attributes:
        coalitions: number of distinct coalitions, without nobody and everybody.
        relative_stderr: the largest standard error of a credit, divided by the standard deviation of all credits; None
            if all credits are equal and their errors are not zero.
        stability: expected fraction of the contributors of highest credit that a repetition would name again.
        width: mean width of the confidence intervals, in units of the utility.
        excess: mean variance of credit from these coalitions, relative to the same number of perfectly balanced
            coalitions; at least 1.
        reached: whether the target is met; False without a target.
        needed: expected number of coalitions that meet the target; None without a target, or if it is out of reach.
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
        enough = next((factor for factor in factors if _error_ratio(factor, self.excess) <= fall), None)
        count = None if enough is None else int(np.ceil(self.coalitions * enough / 2) * 2)
        return None if count is None or (self.contributors and count > 2**self.contributors - 2) else count

    def width_at(self, coalitions: int) -> float:
        """Expected mean width of the intervals after this number of coalitions."""
        return self.width * _error_ratio(coalitions / self.coalitions, self.excess)


def pilot_size(n_players: int) -> int:
    """Number of coalitions before the first check: three for each contributor, an even number, at least 40."""
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
    """Compare the certainty of an estimate with a target.

    Args:
        masks: bool, `(m, n)`, the coalitions of the estimate.
        stderr: target for the relative standard error; None: no such target.
        top: number of contributors of highest credit that must be stable; None: no such target.
        stability: target for the expected fraction of the `top` contributors that a repetition names again.
        seed: of the simulated repetitions.
    """
    distinct = np.unique(masks, axis=0)
    coalitions, excess = len(distinct), _excess(distinct)
    noise = np.random.default_rng(seed).normal(size=(1000, len(estimate.values)))
    relative = _relative(estimate)

    def meets(scale: float) -> bool:
        precise = stderr is None or (relative is not None and relative * scale <= stderr)
        return precise and (top is None or _stability(estimate, top, noise * scale) >= stability)

    targeted = stderr is not None or top is not None
    factors = np.geomspace(1, MOST, 200)
    enough = next((factor for factor in factors if meets(_error_ratio(factor, excess))), None) if targeted else None
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


def _error_ratio(factor: float, excess: float) -> float:
    """The ratio of the standard errors with `factor` times as many coalitions to the present ones.

    Standard errors fall with the square root of the number of coalitions. At first they fall faster, since few
    coalitions cannot be balanced over all contributors: the excess of `sample_coalitions` falls with the square of the
    number.
    """
    return float(np.sqrt((1 + (excess - 1) / factor**2) / (factor * excess)))


def _excess(masks: np.ndarray) -> float:
    """The ratio of the mean variance of least squares to that of balanced coalitions.

    It is the arithmetic mean of the eigenvalues of the information matrix, divided by their harmonic mean.
    """
    centred = masks - masks.mean(axis=1, keepdims=True)
    information = np.linalg.eigvalsh(centred.T @ centred)[1:]  # (n - 1,); the first, of the all-ones vector, is zero
    if information[0] <= 1e-9 * information[-1]:
        return 1.0  # too few coalitions for least squares, so the excess is unknown
    return float(information.mean() * (1 / information).mean())


def _relative(estimate: ShapleyEstimate) -> float | None:
    spread, largest = float(estimate.values.std()), float(estimate.stderr.max())
    if largest == 0:
        return 0.0
    return largest / spread if spread > 0 else None


def _stability(estimate: ShapleyEstimate, top: int, noise: np.ndarray) -> float:
    """The expected fraction of the `top` contributors that a repetition names again.

    A repetition has the same errors as the estimate, so the variance of their difference is twice that of the estimate.
    """
    repeated = estimate.values + np.sqrt(2) * estimate.stderr * noise  # (repetitions, n)
    named = np.argsort(-estimate.values, kind="stable")[:top]
    again = np.argsort(-repeated, axis=1, kind="stable")[:, :top]
    return float(np.isin(again, named).mean())
