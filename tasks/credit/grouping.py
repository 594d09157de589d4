"""Groups of contributors: the players of a game with very many contributors, and what each member has of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from prefect.cache_policies import NO_CACHE

from royalty.infra.workspace import Workspace
from royalty.models.valuation.grouped import grouped_shapley
from royalty.models.valuation.grouping import assign_groups
from royalty.models.valuation.shapley import ShapleyEstimate
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.stages import Ingested
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.stage import Finished, Stage
from royalty.tasks.stages.task import task


@dataclass(frozen=True)
class GroupInputs:
    """Contributors to divide among groups; see `royalty.models.valuation.grouping.assign_groups`.

    Attributes:
        items: number of training images of each contributor, by name.
        groups: number of groups.
        kept: groups of the run that is revalued, by name.
    """

    items: dict[str, int]
    groups: int
    seed: int
    kept: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class GroupOutputs:
    """Number of the group of each contributor, from 0, by name."""

    groups: dict[str, int]


GROUPS = Stage("groups", GroupInputs, GroupOutputs)

Grouped = Finished[GroupInputs, GroupOutputs]


@dataclass(frozen=True)
class MemberParts:
    """By what the credit of groups is divided among their members.

    Attributes:
        match: key of GMValuator's values of training images, for images of everybody's model.
        parts: sums of those values by contributor.
        errors: their standard errors by the sample of images.
    """

    grouped: Grouped
    match: str
    parts: Mapping[str, float]
    errors: Mapping[str, float]

    def divide(self, credit: ShapleyEstimate, names: Sequence[str]) -> ShapleyEstimate:
        """Credit of contributors, in the order of the names, from that of the groups."""
        parts, errors = ([by_name[name] for name in names] for by_name in (self.parts, self.errors))
        return grouped_shapley(credit, owners(names, self.grouped), parts, parts_stderr=errors)

    def column(self, names: Sequence[str]) -> dict[str, list[int]]:
        """The column of the credit table with the number of the group of each contributor."""
        return {"group": owners(names, self.grouped).tolist()}


@task(name="divide contributors among groups", cache_policy=NO_CACHE)
def group_contributors(data: Ingested, config: CreditConfig, last: Grouped | None = None) -> Grouped | None:
    """Divide contributors among groups; None if coalitions are of contributors.

    Args:
        last: groups of the run that is revalued, where its contributors stay.
    """
    groups = config.coalitions.groups
    if groups is None:
        return None
    items = {name: data.outputs.items[name] for name in data.outputs.players}
    if last is not None and last.inputs.groups != groups:
        last = None
    if last is not None and last.outputs.groups.keys() == items.keys():
        return last
    inputs = GroupInputs(items, groups, config.seed, last.outputs.groups if last else {})

    def compute(_: Workspace) -> GroupOutputs:
        return GroupOutputs(assign_groups(items, groups, seed=config.seed, kept=inputs.kept))

    return run_here(GROUPS, inputs, compute)


def owners(names: Sequence[str], grouped: Grouped | None) -> np.ndarray:
    """The player that each contributor belongs to, `(contributors,)`: a group, or else the contributor."""
    return np.arange(len(names)) if grouped is None else np.array([grouped.outputs.groups[name] for name in names])


def representatives(names: Sequence[str], grouped: Grouped | None) -> list[str]:
    """One contributor of each player. A coalition has all members of a group or none, so that one tells of all."""
    first = np.unique(owners(names, grouped), return_index=True)[1]
    return [names[place] for place in first.tolist()]


def groups_sentence(grouped: Grouped) -> str:
    """How credit was divided among the members of groups, for the report."""
    return (
        f"Coalitions are of {grouped.inputs.groups} groups of contributors. The credit of a group is divided among its "
        "members by what their images contribute to generated ones (GMValuator). Intervals include the sampling of "
        "these images. They leave out that a member's credit may not be in proportion to what it contributes to them. "
        "Pairs of contributors are not tested."
    )
