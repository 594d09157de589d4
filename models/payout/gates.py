"""Gates: limits on diagnostics of the credit; a payout stops if one is exceeded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Gate = Literal["efficiency_gap", "marginal_error", "interval_width", "failed_share", "stderr"]

GATES: dict[Gate, tuple[str, str]] = {
    "efficiency_gap": (
        "the difference between the sum of credits and the utility to divide is",
        "estimate the credit again, and check the condition number of its regression",
    ),
    "marginal_error": (
        "the marginal error of the transport plan is",
        "solve the transport problem to a smaller marginal error",
    ),
    "interval_width": (
        "the mean width of intervals, in standard deviations of credit, is",
        "measure more coalitions",
    ),
    "failed_share": (
        "the share of coalitions whose training failed is",
        "lower `coalitions.learning_rate`, so that fewer trainings diverge",
    ),
    "stderr": (
        "the largest standard error of a credit, in units of the mean credit, is",
        "measure more coalitions (`coalitions.count`) or train each more often (`coalitions.seeds`), or pay by this "
        "credit nevertheless with `--accept-uncertainty`",
    ),
}
"""For each gate, what it measures and the remedy when it stops a payout, as parts of a sentence."""


@dataclass(frozen=True)
class Breach:
    """A gate whose value exceeds its limit, or is nan.

    Attributes:
        needed: coalitions with which the value is expected to meet the limit; None if that is not known.
    """

    gate: Gate
    value: float
    limit: float
    needed: int | None = None

    @property
    def sentence(self) -> str:
        measured, remedy = GATES[self.gate]
        if self.needed is not None:
            remedy = remedy.replace("more coalitions", f"about {self.needed} coalitions", 1)
        return f"{measured} {self.value:.3g}, and `payout.limits.{self.gate}` is {self.limit:.3g}: {remedy}"


def measure_gates(
    values: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    *,
    stderr: np.ndarray,
    efficiency_gap: float,
    failed: int,
    trained: int,
    marginal_error: float = 0.0,
) -> dict[Gate, float]:
    """The values that the gates limit; lower is better, and 0 is ideal.

    Args:
        values, low, high: `(contributors,)`, credits and the ends of their intervals.
        stderr: `(contributors,)`, standard errors of the credits.
        efficiency_gap: |sum of credits - utility to divide|, in units of the utility.
        marginal_error: marginal error of the optimal transport that values come from; 0 without optimal transport.
        failed, trained: number of coalitions whose training failed, and of all coalitions including these.

    Returns:
        `efficiency_gap` and `marginal_error` as passed; `interval_width`, the mean width of intervals divided by the
        standard deviation of credits, infinite if all credits are equal and intervals are not empty; `failed_share`, in
        [0, 1]; `stderr`, see `relative_stderr`.
    """
    width, spread = float((high - low).mean()), float(values.std())
    relative = width / spread if spread > 0 else (0.0 if width == 0 else float("inf"))
    return {
        "efficiency_gap": efficiency_gap,
        "marginal_error": marginal_error,
        "interval_width": relative,
        "failed_share": failed / trained,
        "stderr": relative_stderr(values, stderr),
    }


def relative_stderr(values: np.ndarray, stderr: np.ndarray) -> float:
    """The largest standard error of a credit in units of the mean credit.

    Credits sum to the utility of everybody's model minus that of nobody's, so that the mean credit is an equal share of
    this difference. At 0.5, the 95% interval of an average contributor just excludes nobody's credit, which is zero:
    1.96 times 0.5 is about 1.

    Args:
        values, stderr: `(contributors,)`.

    Returns:
        0 if all credits are exact; infinity if they are not, and sum to zero.
    """
    largest, share = float(stderr.max()), abs(float(values.mean()))
    if largest == 0:
        return 0.0
    return largest / share if share > 0 else float("inf")


def breaches(
    measured: Mapping[Gate, float], limits: Mapping[Gate, float | None], *, needed: int | None = None
) -> tuple[Breach, ...]:
    """The gates that stop a payout, because their value is above the limit or nan.

    Args:
        limits: the limit of each gate; None: no limit.
        needed: coalitions with which `stderr` is expected to meet its limit; None if that is not known.
    """
    return tuple(
        Breach(gate, measured[gate], limit, needed if gate == "stderr" else None)
        for gate, limit in limits.items()
        if limit is not None and not measured[gate] <= limit
    )
