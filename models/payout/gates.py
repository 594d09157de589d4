"""Gates: credit that is not certain enough, or not whole, is not paid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Gate = Literal["efficiency_gap", "marginal_error", "interval_width", "failed_share", "stderr"]

GATES: dict[Gate, tuple[str, str]] = {
    "efficiency_gap": (
        "what credits sum to differs from what there is to divide by",
        "estimate the credit anew, and look at the condition number of its regression",
    ),
    "marginal_error": (
        "how far the transport plan is from the shares it had to keep is",
        "solve it to a smaller marginal error",
    ),
    "interval_width": (
        "the mean width of intervals is, in standard deviations of credit,",
        "measure more coalitions",
    ),
    "failed_share": (
        "the share of coalitions whose training failed is",
        "lower `coalitions.learning_rate`, so that fewer diverge",
    ),
    "stderr": (
        "the largest standard error of a credit is, in units of the mean credit,",
        "measure more coalitions (`coalitions.count`) or train each more often (`coalitions.seeds`), or pay by this "
        "credit nevertheless with `--accept-uncertainty`",
    ),
}
"""What each gate measures, and what helps when it stops a payout."""


@dataclass(frozen=True)
class Breach:
    """A gate whose measure exceeds its limit.

    Attributes:
        needed: coalitions with which the measure is expected to meet the limit; None if that is not known.
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
    """What the gates look at; lower is better, and 0 is perfect.

    Args:
        values, low, high: `(contributors,)`, credits and the ends of their intervals.
        stderr: `(contributors,)`, standard errors of the credits.
        efficiency_gap: |sum of credits - what there is to divide|, in units of the utility.
        marginal_error: of the optimal transport that values come from; 0 where they come from none.
        failed, trained: coalitions whose training failed, and all that were trained or failed.

    Returns:
        `efficiency_gap` and `marginal_error` as given; `interval_width`, the mean width over the standard deviation
        of credits, infinite where all credits are equal but not known to be; `failed_share`, in [0, 1]; `stderr`, see
        `relative_stderr`.
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
    """The gates that do not let a payout pass: their measure is above the limit, or is no number.

    Args:
        limits: None is no limit.
        needed: coalitions with which `stderr` is expected to meet its limit; None if that is not known.
    """
    return tuple(
        Breach(gate, measured[gate], limit, needed if gate == "stderr" else None)
        for gate, limit in limits.items()
        if limit is not None and not measured[gate] <= limit
    )
