"""Log a finished run to MLflow: its stages and coalitions as child runs, data, models and tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import prefect.runtime
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.progress import Advance, progress
from royalty.infra.settings import settings
from royalty.infra.stores.keys import code_commit, digest_of
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord
from royalty.infra.tracking.records import DatasetRecord, FinishedRun
from royalty.infra.workspace import Workspace
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import INGEST, IngestOutputs
from royalty.tasks.pay.headline import headline
from royalty.tasks.report.stage_runs import StageRun, stage_runs
from royalty.tasks.report.stages import TRACK, RunStages, Tracked, TrackInputs, TrackOutputs
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.stage import as_json

if TYPE_CHECKING:
    from royalty.infra.tracking.client import Tracking


@task(cache_policy=NO_CACHE)
def prepare_tracking() -> None:
    """Create MLflow's database if it is missing. This takes seconds, and can run while coalitions are measured."""
    from royalty.infra.tracking.client import open_tracking  # MLflow takes seconds to import

    open_tracking(settings()).prepare()


@task(cache_policy=NO_CACHE)
def track(name: str, config: Mapping[str, Any], stages: RunStages, plans: Sequence[CoalitionPlan]) -> Tracked:
    """Log a run to MLflow.

    Args:
        config: the configuration of the run, logged as its parameters.
        plans: plans of the coalitions that the credit is estimated from.
    """
    measurements = [measure.key for plan in plans for measure in plan.measures]
    inputs = TrackInputs(name, [stage.key for stage in stages.finished], measurements)

    def compute(space: Workspace) -> TrackOutputs:
        from royalty.infra.tracking.client import open_tracking

        tracking = open_tracking(settings())
        commit, flow_run = code_commit(), str(prefect.runtime.flow_run.id or "none")
        experiments = tracking.experiments()
        tags = {"git.commit": commit, "prefect.flow_run_id": flow_run, **_digests(stages)}
        note = _note(name, config, stages)
        run = tracking.start(tracking.RUNS, name, key=digest_of(as_json(inputs)), note=note, tags=tags)
        tracking.note(run, note + _coalitions_link(experiments["coalitions"], run))
        tracking.log(run, params=_flat(config))
        children, coalitions = stage_runs(space, stages), _coalition_runs(space, stages, plans)
        with progress("Log to MLflow", len(children) + len(coalitions)) as advance:
            logged = _log_stages(tracking, space, run, name, stages, children, advance)
            logged |= tracking.record_all(tracking.COALITIONS, coalitions, run, advance)
        return TrackOutputs(run, commit, flow_run, experiments, logged)

    return run_here(TRACK, inputs, compute, one_by_one=True)


def _digests(stages: RunStages) -> dict[str, str]:
    """Digests of models, tables and the statement as MLflow tags. Each is a valid argument of `royalty trace`."""
    digests = {
        "base_model": stages.train.outputs.model,
        "pruned_model": stages.prune.outputs.model,
        "credit_table": stages.credit.outputs.table,
        "payout_table": stages.pay.outputs.payout,
        "statement": stages.pay.statement,
    }
    return {f"royalty.{tag}": digest for tag, digest in digests.items() if digest}


def _note(name: str, config: Mapping[str, Any], stages: RunStages) -> str:
    """Description of a run for MLflow, in Markdown."""
    data, credit, refusal = stages.ingest.outputs, stages.credit.outputs, stages.pay.outputs.refusal
    paid = f"**Not paid**: {escaped(refusal)}." if refusal else f"Paid by statement `{stages.pay.statement}`."
    first = escaped(str(headline(stages.pay.outputs.rows)))
    gain = credit.grand_utility - credit.null_utility
    return (
        f"Credits {len(data.contributors)} contributors of {data.total_items} images for the `{config['property']}` "
        f"of a model trained on them. Everybody's model scores {credit.grand_utility:.4g}, {gain:+.4g} compared with "
        f"nobody's. The credit is estimated from {credit.trained} models of coalitions. {first} {paid}\n\n"
        "Under *Artifacts*, `index.html` and `report.html` are the report; `credit.json`, `payout.json` and "
        f"`values.json` are its tables. `royalty trace {name}` traces the payout to the images and verifies each "
        "step.\n\n"
    )


def _coalitions_link(experiment: str, run: str) -> str:
    """Link to the coalitions of a run, highest utility first."""
    children = quote(f"tags.`mlflow.parentRunId` = '{run}'")
    order = quote("metrics.`utility`")
    address = f"#/experiments/{experiment}/runs?searchFilter={children}&orderByKey={order}&orderByAsc=false"
    return f"[Coalitions of this run, by utility]({address})"


def _log_stages(
    tracking: Tracking,
    space: Workspace,
    parent: str,
    name: str,
    stages: RunStages,
    children: Sequence[StageRun],
    advance: Advance,
) -> dict[str, str]:
    """Log stages as child runs; returns their MLflow run ids by stage key."""
    aliases = ["candidate"] if stages.pay.outputs.refusal else ["candidate", "credited"]
    logged = {}
    for child in children:
        logged[child.stage.key] = _log_stage(tracking, space, parent, child, stages.ingest.outputs, name, aliases)
        advance(1)
    return logged


def _log_stage(
    tracking: Tracking,
    space: Workspace,
    parent: str,
    child: StageRun,
    data: IngestOutputs,
    name: str,
    aliases: Sequence[str],
) -> str:
    """Log a stage as a child run; returns its MLflow run id."""
    stage = child.stage
    run = tracking.start(tracking.RUNS, stage.name, key=stage.key, parent=parent, note=child.note)
    tracking.log(run, params=_flat(as_json(stage.inputs)), metrics={**child.metrics, "seconds": stage.seconds})
    images = DatasetRecord("train", data.train, {"items": data.total_items, "contributors": data.items})
    for logged_run in (parent, run) if stage.name == INGEST.name else (run,):
        tracking.dataset(logged_run, images)
    if child.model is not None:
        payload = space.artifacts.get(child.model.digest)
        model = tracking.model(run, child.model.name, payload, child.model.digest, child.model.metrics)
        if child.registered:
            tracking.register(f"royalty-{name}", model, run, f"Base model `{child.model.digest}`.", aliases)
    if child.losses:
        tracking.curve(run, "loss", child.losses)
    if child.of_run:
        tracking.log(parent, metrics=child.metrics)
    for file, table in child.tables.items():
        tracking.table(parent, table, file)
    tracking.finish(run)
    return run


def _coalition_runs(space: Workspace, stages: RunStages, plans: Sequence[CoalitionPlan]) -> list[FinishedRun]:
    rows = space.runs.coalitions(plan.key for plan in plans)
    measured: dict[str, list[MeasurementRecord]] = {key: [] for key in rows}
    keys = [measure.key for plan in plans for measure in plan.measures]
    for measurement in space.runs.measurements(keys).values():
        measured[measurement.coalition].append(measurement)
    brought = stages.ingest.outputs.brought
    return [coalition_run(row, measured[row.key], brought) for row in rows.values()]


def coalition_run(
    row: CoalitionRecord, measured: Sequence[MeasurementRecord], brought: Mapping[str, str]
) -> FinishedRun:
    """Describe a coalition as an MLflow run.

    Args:
        measured: measurements of the coalition.
        brought: digest of each contributor's images, by name.
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
        name=f"coalition-{row.key[:8]}",
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
    )


def escaped(text: str) -> str:
    """Escape text for Markdown. Names of contributors are user input."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~&])", r"\\\1", text).replace("\n", " ")


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to dotted names, with values cut to MLflow's limit of 500 characters."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flat(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(inner)[:500]
    return flat
