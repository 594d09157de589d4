"""Content of the MLflow run of each coalition, and which coalitions MLflow has already."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord
from royalty.infra.tracking.records import DatasetRecord, FinishedRun
from royalty.infra.tracking.source import source_tags
from royalty.infra.workspace import Workspace
from royalty.models.generators.training import UNLEARNING
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.recording import LOSSES
from royalty.tasks.credit.stages import Curve
from royalty.tasks.report.rows import readable
from royalty.tasks.report.stages import TRACK, RunStages
from royalty.tasks.report.text import escaped
from royalty.tasks.stages.periods import coalition_period

NAME = 60
"""Most characters of a run's name for the names of contributors."""


def coalition_runs(
    space: Workspace, stages: RunStages, plans: Sequence[CoalitionPlan], models: Mapping[str, str]
) -> list[FinishedRun]:
    """Describe each coalition.

    Args:
        models: MLflow's IDs of the logged models, by digest.
    """
    rows = space.runs.coalitions(plan.key for plan in plans)
    measured = _measured(space, plans)
    starts = {plan.key: models.get(plan.start) for plan in plans if _starts_from_a_model(plan)}
    losses, brought = _losses(space, list(rows)), stages.ingest.outputs.brought
    origins = space.lineage.origins(list(rows))
    return [
        coalition_run(
            row,
            measured[row.key],
            brought,
            losses=losses.get(row.key, []),
            start=starts.get(row.key),
            tags=source_tags(origins[row.key].commit) if row.key in origins else {},
        )
        for row in rows.values()
    ]


def logged_coalitions(space: Workspace, plans: Sequence[CoalitionPlan]) -> dict[str, list[str]]:
    """IDs of the MLflow runs, by key, of coalitions with these measurements that earlier runs logged, latest first."""
    present = {plan.key: {measure.key for measure in plan.measures} for plan in plans}
    logged: dict[str, list[str]] = {}
    for record in reversed(space.runs.stages(TRACK.name)):
        track = readable(TRACK, record)
        if track is None:
            continue
        shown: dict[str, set[str]] = {}
        for key, measurement in space.runs.measurements(track.inputs.measurements).items():
            shown.setdefault(measurement.coalition, set()).add(key)
        runs = track.outputs.runs
        for key, keys in present.items():
            if key in runs and shown.get(key) == keys and runs[key] not in logged.get(key, ()):
                logged.setdefault(key, []).append(runs[key])
    return logged


def coalition_run(
    row: CoalitionRecord,
    measured: Sequence[MeasurementRecord],
    brought: Mapping[str, str],
    *,
    losses: Sequence[Sequence[float]] = (),
    start: str | None = None,
    tags: Mapping[str, str] = {},
) -> FinishedRun:
    """Describe a coalition as an MLflow run.

    Args:
        measured: measurements of the coalition.
        brought: digest of each contributor's images, by name.
        losses: loss curve of the training; empty if it has none.
        start: MLflow's ID of the model that the training started from; None if it started from random weights.
        tags: tags of the run, such as its source.
    """
    members = f"{len(row.members)} of {len(brought)} contributors" if row.members else "nobody"
    training = f"by `{row.method}` on the {row.items} images of {members}"
    note = (
        f"A model trained {training}."
        if row.checkpoint
        else f"The training {training} failed: {escaped(row.failure or '')}."
    )
    metrics = {"size": float(len(row.members)), "items": float(row.items), "train_seconds": row.train_seconds}
    if measured:
        metrics["utility"] = sum(measurement.utility for measurement in measured) / len(measured)
        metrics["sample_seconds"] = sum(measurement.sample_seconds for measurement in measured)
        note += f" Its utility, the {measured[0].property} of its images, is {metrics['utility']:.4g}."
    images = {name: brought.get(name) for name in row.members}
    return FinishedRun(
        name=coalition_name(row.members, len(brought)),
        key=row.key,
        note=note,
        params={
            "members": ";".join(row.members)[:6000],
            "method": row.method,
            "seed": row.seed,
            "device": row.device,
            "checkpoint": row.checkpoint or "none",
            "draws": len(measured),
        },
        metrics=metrics,
        dataset=DatasetRecord("coalition", digest_of(images), {"items": row.items, "contributors": len(row.members)}),
        period=coalition_period(row, measured),
        losses=losses,
        start=start,
        tags=tags,
    )


def coalition_name(members: Sequence[str], contributors: int) -> str:
    """Size and members of a coalition, such as `2 of 12: ann, bob`, with as many names as fit."""
    if not members:
        return f"0 of {contributors}: nobody"
    if len(members) == contributors:
        return f"{contributors} of {contributors}: everybody"
    listed = ", ".join(members)
    if len(listed) > NAME:
        listed = f"{listed[: NAME - 1]}…"
    return f"{len(members)} of {contributors}: {listed}"


def _starts_from_a_model(plan: CoalitionPlan) -> bool:
    """Whether its training continues that of the model it starts from, rather than taking over the shape alone."""
    return plan.method in UNLEARNING or (plan.method != "retrain" and bool(plan.members))


def _measured(space: Workspace, plans: Sequence[CoalitionPlan]) -> dict[str, list[MeasurementRecord]]:
    measured: dict[str, list[MeasurementRecord]] = {plan.key: [] for plan in plans}
    keys = [measure.key for plan in plans for measure in plan.measures]
    for measurement in space.runs.measurements(keys).values():
        measured[measurement.coalition].append(measurement)
    return measured


def _losses(space: Workspace, keys: Sequence[str]) -> dict[str, Curve]:
    """Loss curves by the key of their coalition. Models of earlier versions have none."""
    edges = [edge for edge in space.lineage.children(keys) if edge.role == LOSSES]
    return {edge.parent: json.loads(space.artifacts.get(edge.child)) for edge in edges}
