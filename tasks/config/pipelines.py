"""Several pipelines: the seed of each, and settings that do not go with them."""

from __future__ import annotations

from typing import Any

APART = 1000
"""Difference between the seeds of two pipelines; above the numbers of training seeds and draws, which count up from
each, so that no seed is used twice."""


def pipeline_seed(seed: int, number: int) -> int:
    """The seed of a pipeline; the first, number 0, has the seed of the run."""
    return seed + APART * number


def check_pipelines(config: Any) -> None:
    """Check settings against the number of pipelines.

    Args:
        config: a `royalty.tasks.config.credit.CreditConfig`, whose module imports this one.

    Raises:
        ValueError: a setting does not go with several pipelines.
    """
    pipelines = config.coalitions.pipelines
    if pipelines == 1:
        return
    groups, units, retrained = config.coalitions.groups, config.coalitions.units, config.fidelity.retrain
    targets = [
        f"`stopping.{name}: {target}`" for name in ("stderr", "top") if (target := getattr(config.stopping, name))
    ]
    for refused, setting, reason in (
        (groups is not None, f"`coalitions.groups: {groups}`", "members divide credit by images of one model"),
        (units == "images", f"`coalitions.units: {units}`", "sets of images are drawn once"),
        (retrained > 0, f"`fidelity.retrain: {retrained}`", "retrained models would correct one pipeline alone"),
        (bool(targets), " and ".join(targets), "a target looks at one pipeline"),
    ):
        if refused:
            raise ValueError(
                f"`coalitions.pipelines: {pipelines}` does not go with {setting}: {reason}. Set "
                "`coalitions.pipelines: 1`, or leave the other out"
            )
