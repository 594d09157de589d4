"""Log a finished run to MLflow: stages and coalitions as children, data, models and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import prefect.runtime
from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.keys import code_commit, digest_of
from infra.progress import progress
from infra.runstore import CoalitionRecord, MeasurementRecord, StageRecord
from infra.settings import settings
from infra.workspace import Workspace
from tasks.credit import load_table
from tasks.plan import CoalitionPlan
from tasks.stage import run_stage

if TYPE_CHECKING:
    from infra.tracking import Tracking

MODEL_NAMES = {"train": "base", "prune": "pruned"}
METRICS = ("accuracy", "null_utility", "grand_utility", "removed")


@task(cache_policy=NO_CACHE)
def prepare_tracking() -> None:
    """Build MLflow's database, if it is not there: seconds that a run can spend on its coalitions as well."""
    from infra.tracking import open_tracking  # MLflow takes seconds to import

    open_tracking(settings()).prepare()


@task(cache_policy=NO_CACHE)
def track(
    name: str, config: Mapping[str, Any], stages: Sequence[StageRecord], plans: Sequence[CoalitionPlan]
) -> StageRecord:
    """The ids of the MLflow run, of this Prefect flow run and of the code's commit."""
    keys = [measure.key for plan in plans for measure in plan.measures]
    inputs = {"name": name, "stages": [stage.key for stage in stages], "measurements": keys}

    def compute(space: Workspace) -> dict[str, Any]:
        from infra.tracking import open_tracking

        tracking = open_tracking(settings())
        commit, flow_run = code_commit(), str(prefect.runtime.flow_run.id or "none")
        note = f"Shapley credit of contributors, run {name!r}: open `report.html` below for the whole account."
        tags = {"git.commit": commit, "prefect.flow_run_id": flow_run}
        run = tracking.start(tracking.RUNS, name, key=digest_of(inputs), note=note, tags=tags)
        tracking.log(run, params=_flat(config))
        rows = space.runs.coalitions(plan.key for plan in plans)
        measured: dict[str, list[MeasurementRecord]] = {key: [] for key in rows}
        for measurement in space.runs.measurements(keys).values():
            measured[measurement.coalition].append(measurement)
        with progress("Log to MLflow", len(stages) + len(rows)) as advance:
            for stage in stages:
                _log_stage(tracking, space, run, stage)
                advance(1)
            for row in rows.values():
                _log_coalition(tracking, run, row, measured[row.key])
                advance(1)
        return {"run": run, "commit": commit, "flow_run": flow_run}

    return run_stage("track", inputs=inputs, modules=(__name__, "infra.tracking"), compute=compute)


def _log_stage(tracking: Tracking, space: Workspace, parent: str, stage: StageRecord) -> None:
    note = f"Stage {stage.name!r} of its parent run."
    child = tracking.start(tracking.RUNS, stage.name, key=stage.key, parent=parent, note=note)
    outputs = stage.outputs
    metrics = {key: outputs[key] for key in METRICS if key in outputs}
    metrics |= {key: value for key, value in outputs.get("diagnostics", {}).items() if isinstance(value, float)}
    metrics |= {f"utility_{model}": value for model, value in outputs.get("utility", {}).items()}
    metrics |= {f"step_seconds_{model}": value for model, value in outputs.get("step_seconds", {}).items()}
    metrics |= {f"utility_stderr_{model}": value for model, value in outputs.get("utility_stderr", {}).items()}
    tracking.log(child, params=_flat(stage.inputs), metrics=metrics | {"seconds": stage.seconds})
    if stage.name == "ingest":
        for run in (parent, child):
            profile = {"items": outputs["total_items"], "contributors": outputs["items"]}
            tracking.dataset(run, "train", outputs["train"], profile)
    if stage.name in MODEL_NAMES:
        payload = space.artifacts.get(outputs["model"])
        values = {key: outputs[key] for key in ("parameters", "multiply_adds")}
        tracking.model(child, MODEL_NAMES[stage.name], payload, outputs["model"], values)
    if "losses" in outputs:
        tracking.curve(child, "loss", outputs["losses"])
    if stage.name == "credit":
        table = load_table(space, outputs["table"])
        tracking.table(parent, table, "credit.json")
        tracking.log(parent, metrics=metrics)
    tracking.finish(child)


def _log_coalition(
    tracking: Tracking, parent: str, row: CoalitionRecord, measured: Sequence[MeasurementRecord]
) -> None:
    made = f"by {row.method} on {', '.join(row.members) or 'nobody'}"
    note = f"Trained {made}." if row.checkpoint else f"Failed to train {made}: {row.failure}."
    run = tracking.start(tracking.COALITIONS, f"coalition-{row.key[:8]}", key=row.key, parent=parent, note=note)
    metrics = {"size": float(len(row.members)), "items": float(row.items), "train_seconds": row.train_seconds}
    if measured:
        metrics["utility"] = sum(one.utility for one in measured) / len(measured)
        metrics["sample_seconds"] = sum(one.sample_seconds for one in measured)
    members = ";".join(row.members)
    params = {
        "members": members[:6000],
        "method": row.method,
        "seed": row.seed,
        "device": row.device,
        "checkpoint": row.checkpoint or "none",
        "draws": len(measured),
    }
    tracking.log(run, params=params, metrics=metrics)
    tracking.finish(run)


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names, values cut to what MLflow holds."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flat(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(inner)[:500]
    return flat
