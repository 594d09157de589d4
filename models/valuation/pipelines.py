"""Credit over several pipelines: how far it moves when everything that is trained is trained again.

The interval of one estimate holds the noise of its coalitions. It does not hold that of the base model, of its pruned
copy and of the classifier that judges images, which another seed makes differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from royalty.models.base.errors import InputError
from royalty.models.valuation.shapley import ShapleyEstimate

LARGEST = ("efficiency_gap", "condition_number")
SUMMED = ("pairs", "unpaired")
"""Diagnostics of which the largest and the sum over pipelines describe all of them."""


@dataclass(frozen=True)
class PipelinesEstimate:
    """Credit of each contributor over pipelines; higher is more valuable.

    Attributes:
        credit: the mean over pipelines. Its intervals are of the mean over all pipelines that could be made.
        rerun_low, rerun_high: `(contributors,)`, the interval for the credit of an independent rerun of as many
            pipelines; sqrt(2) times as wide.
        deviation: standard deviation between pipelines of the credit of a contributor, beyond the noise of each.
        noise: standard error of a credit in one pipeline, root mean square over contributors and pipelines.
        pipelines: their number.
    """

    credit: ShapleyEstimate
    rerun_low: np.ndarray
    rerun_high: np.ndarray
    deviation: float
    noise: float
    pipelines: int


def combine_pipelines(estimates: Sequence[ShapleyEstimate], *, confidence: float = 0.95) -> PipelinesEstimate:
    """Combine the credit of independent pipelines by a model of random effects.

    In pipeline k, the credit of contributor i is y_ki = theta_i + b_ki + e_ki: theta_i is the mean over all pipelines
    that could be made, b_ki the effect of this one, with variance tau^2, and e_ki the noise of its coalitions, whose
    variance s_ki^2 the estimate states. The credit is the mean of y_ki over k, with variance
    (tau^2 + mean_k s_ki^2) / N for N pipelines, so that credits sum to the mean of what pipelines divide.

    Two pipelines say little of one contributor, so tau^2 is the same for all: what the variance of y_ki about its mean
    over k, averaged over contributors, exceeds the mean of s_ki^2 by; at least 0. If it is above 0, intervals are
    quantiles of Student's t with Satterthwaite's degrees of freedom, from the variance of what moves all contributors
    alike (N - 1 degrees) and of the rest ((N - 1)(n - 1)). If it is 0, they are those of the estimates, narrower by
    sqrt(N).

    Args:
        estimates: of two pipelines or more, with the same contributors in the same order.
        confidence: of the intervals, as of those of the estimates.

    Raises:
        InputError: fewer than two estimates, different numbers of contributors, credit that is not finite, or a
            confidence out of range.

    Returns:
        Values in the units of the utility, with intervals for the credit and for an independent rerun.

    Examples:
        >>> import royalty
        >>> masks = [[1, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]]
        >>> first = royalty.estimate_shapley(masks, [3, 3, 2, 4, 1, 5], null_utility=0, grand_utility=6)
        >>> second = royalty.estimate_shapley(masks, [5, 3, 2, 6, 1, 7], null_utility=0, grand_utility=8)
        >>> both = royalty.combine_pipelines([first, second])
        >>> both.credit.values.round(6).tolist()
        [4.0, 2.0, 1.0]
        >>> both.pipelines
        2
    """
    _check(estimates, confidence)
    values = np.stack([each.values for each in estimates])  # (pipelines, contributors)
    within = np.stack([each.stderr for each in estimates]) ** 2
    pipelines, contributors = values.shape
    noise = within.mean()
    alike = contributors * values.mean(axis=1).var(ddof=1)  # along the direction that moves all contributors alike
    moved = values - values.mean(axis=1, keepdims=True)
    moved = moved - moved.mean(axis=0)
    apart = (moved**2).sum() / ((pipelines - 1) * (contributors - 1))  # along each other direction
    total = (alike + (contributors - 1) * apart) / contributors
    between = max(float(total - noise), 0.0)
    if between > 0:
        scale = max(alike, apart)
        alike, apart = alike / scale, apart / scale  # squares of small variances are zero for a computer
        spread = alike**2 + (contributors - 1) * apart**2
        freedom = (pipelines - 1) * (alike + (contributors - 1) * apart) ** 2 / spread
        quantile = float(stdtrit(freedom, (1 + confidence) / 2))
    else:
        quantile = _quantile(estimates)
    mean, stderr = values.mean(axis=0), np.sqrt((between + within.mean(axis=0)) / pipelines)
    reach = quantile * stderr
    credit = ShapleyEstimate(
        values=mean,
        stderr=stderr,
        ci_low=mean - reach,
        ci_high=mean + reach,
        n_evaluations=sum(each.n_evaluations for each in estimates),
        diagnostics={
            **_diagnostics(estimates),
            "pipelines": float(pipelines),
            "deviation_pipelines": float(np.sqrt(between)),
            "noise_pipeline": float(np.sqrt(noise)),
        },
    )
    again = np.sqrt(2) * reach
    return PipelinesEstimate(
        credit, mean - again, mean + again, float(np.sqrt(between)), float(np.sqrt(noise)), pipelines
    )


def _check(estimates: Sequence[ShapleyEstimate], confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"the confidence of an interval lies between 0 and 1, got {confidence}; 0.95 is usual")
    if len(estimates) < 2:
        raise InputError(
            f"variation between pipelines is seen in two or more, got {len(estimates)}; use the estimate of one "
            "pipeline as it is, or make another"
        )
    counts = sorted({len(each.values) for each in estimates})
    if len(counts) > 1:
        raise InputError(
            f"pipelines are of the same contributors, got credit of {' and '.join(map(str, counts))} contributors. "
            "Give estimates of one set of contributors, in one order"
        )
    if counts[0] < 2:
        raise InputError(f"credit is shared between at least 2 contributors, got {counts[0]}. Give credit of more")
    for number, each in enumerate(estimates):
        if not (np.isfinite(each.values).all() and np.isfinite(each.stderr).all()):
            raise InputError(
                f"credit and its standard errors are finite numbers; those of pipeline {number} are not. Leave it "
                "out, or estimate it again"
            )


def _quantile(estimates: Sequence[ShapleyEstimate]) -> float:
    """Half the width of the estimates' intervals over their standard error, mean; 0 if no error is above zero."""
    reach = np.concatenate([each.ci_high - each.values for each in estimates])
    stderr = np.concatenate([each.stderr for each in estimates])
    known = stderr > 0
    return float((reach[known] / stderr[known]).mean()) if known.any() else 0.0


def _diagnostics(estimates: Sequence[ShapleyEstimate]) -> dict[str, float | str]:
    every = [each.diagnostics for each in estimates]
    names = dict.fromkeys(str(each["estimator"]) for each in every)
    return {
        **{name: max(float(each[name]) for each in every) for name in LARGEST if name in every[0]},
        "estimator": ", ".join(names),
        "why": f"in each of {len(every)} pipelines, of which credit is the mean",
        **{name: sum(float(each[name]) for each in every) for name in SUMMED if name in every[0]},
    }
