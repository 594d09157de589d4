"""Utilities of planned coalitions, as far as they are measured, and the time that they took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from royalty.infra.workspace import Workspace
from royalty.tasks.credit.coalitions import Members
from royalty.tasks.credit.plan import CoalitionPlan


@dataclass(frozen=True)
class SeededUtilities:
    """Utilities of retrained coalitions.

    Attributes:
        by_seed: by training seed and members.
        trained: keys of the plans that are measured.
    """

    by_seed: Mapping[int, Mapping[Members, float]]
    trained: frozenset[str]

    def of(self, coalitions: Sequence[Members]) -> tuple[list[Members], np.ndarray]:
        """The coalitions that the chosen seeds have, and their utilities, `(seeds, coalitions)`.

        Chosen are the seeds that have all of these coalitions; if none has, the first seed.
        """
        whole = [utilities for utilities in self.by_seed.values() if all(own in utilities for own in coalitions)]
        chosen = whole or list(self.by_seed.values())[:1]
        measured = [members for members in coalitions if all(members in utilities for utilities in chosen)]
        return measured, np.array([[utilities[members] for members in measured] for utilities in chosen])


def seeded_utilities(space: Workspace, plans: Sequence[CoalitionPlan]) -> SeededUtilities:
    """Utilities of the planned coalitions that are measured, by training seed."""
    by_seed: dict[int, dict[Members, float]] = {}
    trained = set()
    for plan, utility in _measured(space, plans):
        by_seed.setdefault(plan.seed, {})[plan.members] = utility
        trained.add(plan.key)
    return SeededUtilities(by_seed, frozenset(trained))


def mean_utilities(space: Workspace, plans: Sequence[CoalitionPlan]) -> dict[Members, float]:
    """Mean utility over training seeds, by members."""
    grouped: dict[Members, list[float]] = {}
    for plan, utility in _measured(space, plans):
        grouped.setdefault(plan.members, []).append(utility)
    return {members: float(np.mean(values)) for members, values in grouped.items()}


def seconds_of(space: Workspace, plans: Sequence[CoalitionPlan]) -> float:
    """Seconds that one worker takes for the training, sampling and measuring of what was planned."""
    models = space.runs.coalitions(plan.key for plan in plans).values()
    rows = space.runs.measurements(measure.key for plan in plans for measure in plan.measures).values()
    return sum(row.train_seconds for row in models) + sum(row.sample_seconds + row.measure_seconds for row in rows)


def _measured(space: Workspace, plans: Sequence[CoalitionPlan]) -> Iterator[tuple[CoalitionPlan, float]]:
    """Each plan that is measured, with its mean utility over draws."""
    rows = space.runs.measurements(measure.key for plan in plans for measure in plan.measures)
    for plan in plans:
        values = [rows[measure.key].utility for measure in plan.measures if measure.key in rows]
        if values and len(values) == len(plan.measures):
            yield plan, float(np.mean(values))
