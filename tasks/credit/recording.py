"""Record the results of workers in the run store, with their lineage."""

from __future__ import annotations

from collections.abc import Mapping

import prefect.runtime

from royalty.infra.settings import settings
from royalty.infra.stores.lineage import Edge
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord
from royalty.infra.workspace import open_workspace
from royalty.tasks.credit.plan import CoalitionPlan, MeasuredUtility, MeasurePlan, TrainedModel

LOSSES = "losses"
"""Role of the edge from a coalition's row to its loss curve."""


def flow_run() -> str | None:
    """Prefect's id of the current flow run."""
    return prefect.runtime.flow_run.id  # type: ignore[no-any-return]


def record(plans: Mapping[str, CoalitionPlan], row: TrainedModel | MeasuredUtility) -> None:
    """Record a model or a measurement of one of these plans.

    Args:
        plans: by their keys.
    """
    if isinstance(row, TrainedModel):
        record_trained(plans[row.key], row)
    else:
        plan = plans[row.coalition]
        record_measurement(next(measure for measure in plan.measures if measure.key == row.key), row)


def record_trained(plan: CoalitionPlan, trained: TrainedModel) -> None:
    """Record the model of a coalition, or the failure of its training."""
    row = CoalitionRecord(
        key=plan.key,
        members=list(plan.members),
        method=plan.method,
        seed=trained.seed,
        items=trained.items,
        train_seconds=trained.seconds,
        device=trained.device,
        checkpoint=trained.checkpoint,
        failure=trained.failure,
    )
    open_workspace(settings()).runs.record_coalition(
        row, coalition_edges(plan, trained.checkpoint, trained.losses), flow_run()
    )


def record_measurement(measure: MeasurePlan, measured: MeasuredUtility) -> None:
    """Record the utility of a coalition's model."""
    row = MeasurementRecord(
        key=measure.key,
        coalition=measured.coalition,
        property=measure.property,
        draw=measure.draw,
        utility=measured.utility,
        sample_seconds=measured.sample_seconds,
        measure_seconds=measured.measure_seconds,
    )
    edges = measurement_edges(measure, measured.coalition)
    open_workspace(settings()).runs.record_measurement(row, edges, flow_run())


def coalition_edges(plan: CoalitionPlan, checkpoint: str | None, losses: str | None = None) -> list[Edge]:
    """Lineage of a coalition's model: from its starting model, images and parts, to its checkpoint and loss curve."""
    edges = [Edge(plan.key, plan.start, "start", plan.key), Edge(plan.key, plan.train, "train", plan.key)]
    edges += [Edge(plan.key, part.key, "parts", plan.key) for part in plan.parts]
    made = {"checkpoint": checkpoint, LOSSES: losses}
    return [*edges, *(Edge(digest, plan.key, role, plan.key) for role, digest in made.items() if digest)]


def measurement_edges(measure: MeasurePlan, coalition: str) -> list[Edge]:
    """Lineage of a measurement: from the model, the judge and the reference images."""
    parents = {"model": coalition, "judge": measure.judge, "reference": measure.reference}
    return [Edge(measure.key, parent, role, measure.key) for role, parent in parents.items()]
