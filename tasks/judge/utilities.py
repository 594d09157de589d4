"""Read the measured utilities of planned coalitions, and the time spent on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from royalty.infra.workspace import Workspace
from royalty.tasks.credit.coalitions import Members
from royalty.tasks.credit.plan import CoalitionPlan


def seeded_utilities(space: Workspace, plans: Sequence[CoalitionPlan]) -> dict[int, dict[Members, float]]:
    """Read the utilities of the measured plans, by training seed and members."""
    by_seed: dict[int, dict[Members, float]] = {}
    for plan, utility in _measured(space, plans):
        by_seed.setdefault(plan.seed, {})[plan.members] = utility
    return by_seed


def mean_utilities(space: Workspace, plans: Sequence[CoalitionPlan]) -> dict[Members, float]:
    """Read the mean utilities over training seeds, by members."""
    grouped: dict[Members, list[float]] = {}
    for plan, utility in _measured(space, plans):
        grouped.setdefault(plan.members, []).append(utility)
    return {members: float(np.mean(values)) for members, values in grouped.items()}


def seconds_of(space: Workspace, plans: Sequence[CoalitionPlan]) -> float:
    """Total seconds of training, sampling and measuring of these plans, for one worker."""
    models = space.runs.coalitions(plan.key for plan in plans).values()
    rows = space.runs.measurements(measure.key for plan in plans for measure in plan.measures).values()
    return sum(row.train_seconds for row in models) + sum(row.sample_seconds + row.measure_seconds for row in rows)


def _measured(space: Workspace, plans: Sequence[CoalitionPlan]) -> Iterator[tuple[CoalitionPlan, float]]:
    """Yield each completely measured plan with its mean utility over draws."""
    rows = space.runs.measurements(measure.key for plan in plans for measure in plan.measures)
    for plan in plans:
        values = [rows[measure.key].utility for measure in plan.measures if measure.key in rows]
        if values and len(values) == len(plan.measures):
            yield plan, float(np.mean(values))
