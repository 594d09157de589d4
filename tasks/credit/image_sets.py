"""Coalitions that are sets of images, in place of contributors: faithful group Shapley values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from royalty.infra.workspace import Workspace
from royalty.models.data.stored import open_set
from royalty.models.valuation.faithful import faithful_shapley
from royalty.models.valuation.shapley import ShapleyEstimate
from royalty.tasks.config.credit import CreditEstimateConfig
from royalty.tasks.credit.drawn import drawn_items
from royalty.tasks.credit.plan import CoalitionPlan, DrawnSet
from royalty.tasks.credit.stages import Ingested


@dataclass(frozen=True)
class MeasuredSets:
    """Measured utilities of sets of images.

    Attributes:
        counts: images of each contributor in each set, `(sets, contributors)`; an image of several is shared equally.
        images: images of each contributor, `(contributors,)`.
        utilities: `(sets,)`, means over seeds and draws.
        null, grand: mean utility of no image and of all.
        failed: members of sets whose training failed.
    """

    counts: np.ndarray
    images: np.ndarray
    utilities: np.ndarray
    null: float
    grand: float
    failed: tuple[tuple[str, ...], ...]

    @property
    def masks(self) -> np.ndarray:
        """Whether more than an average part of a contributor's images is in a set, bool, `(sets, contributors)`."""
        fractions = self.counts / self.images
        above: np.ndarray = fractions >= (self.counts.sum(axis=1) / self.images.sum())[:, None]
        return above

    def estimate(self, config: CreditEstimateConfig, _seed: int) -> ShapleyEstimate:
        return faithful_shapley(
            self.counts, self.images, self.utilities, self.null, self.grand, confidence=config.confidence
        )


def gather_sets(
    space: Workspace, data: Ingested, plans: Sequence[CoalitionPlan], ends: tuple[float, float]
) -> MeasuredSets:
    """Read the measured utilities of sets of images.

    Args:
        plans: plans with drawn sets.
        ends: mean utility of no image and of all.
    """
    images, players = open_set(space.artifacts.verified(data.outputs.train)), data.outputs.players
    columns = [images.contributors.index(name) for name in players]
    owned = images.membership[:, columns]
    shares = owned / np.maximum(owned.sum(axis=1, keepdims=True), 1)  # (items, contributors)
    models = space.runs.coalitions(plan.key for plan in plans)
    rows = space.runs.measurements(measure.key for plan in plans for measure in plan.measures)
    utilities: dict[DrawnSet, list[float]] = {}
    counts: dict[DrawnSet, np.ndarray] = {}
    failed = []
    for plan in plans:
        if plan.drawn is None:
            continue
        if models[plan.key].checkpoint is None:
            failed.append(plan.members)
            continue
        counts[plan.drawn] = shares[drawn_items(images, plan.drawn, plan.public)].sum(axis=0)
        utilities.setdefault(plan.drawn, []).extend(rows[measure.key].utility for measure in plan.measures)
    return MeasuredSets(
        counts=np.array(list(counts.values())).reshape(-1, len(players)),
        images=shares.sum(axis=0),
        utilities=np.array([np.mean(values) for values in utilities.values()]),
        null=ends[0],
        grand=ends[1],
        failed=tuple(failed),
    )
