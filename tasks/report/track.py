"""Log a finished run to MLflow: stages and coalitions as children, data, models and tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd
import prefect.runtime
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.progress import progress
from royalty.infra.settings import settings
from royalty.infra.stores.keys import code_commit, digest_of
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord, StageRecord
from royalty.infra.tracking.records import FinishedRun, Given
from royalty.infra.workspace import Workspace
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.stages.publishing import SHOWN_ROWS
from royalty.tasks.stages.stage import run_stage

if TYPE_CHECKING:
    from royalty.infra.tracking.client import Tracking

NOTES = {
    "ingest": "Images with their contributors, checked, and parted into what trains and what judges.",
    "classifier": "Trains the classifier that judges generated images; it never sees a training image.",
    "base": "Trains a small Stable Diffusion pipeline, which LoRAs are put on; nobody is credited for what it learns.",
    "train": "Trains the base model on everybody's images. The model is under *Outputs*.",
    "prune": "Removes the channels of least weight from the base model and lets it recover: coalitions start from it.",
    "measure": "Utilities of the models on the way and of real images.",
    "credit": "Shapley credit of contributors, from the utilities of all measured coalitions.",
    "pay": "Divides the pool by credit, under the terms in its parameters, and posts it to the ledger.",
    "gmvaluator": "Matches what everybody's model makes with the training images behind it (GMValuator).",
}
"""What a colleague should know of each stage."""

MODEL_NAMES = {"train": "base", "prune": "pruned"}
METRICS = ("accuracy", "null_utility", "grand_utility", "removed")


@task(cache_policy=NO_CACHE)
def prepare_tracking() -> None:
    """Build MLflow's database, if it is not there: seconds that a run can spend on its coalitions as well."""
    from royalty.infra.tracking.client import open_tracking  # MLflow takes seconds to import

    open_tracking(settings()).prepare()


@task(cache_policy=NO_CACHE)
def track(
    name: str, config: Mapping[str, Any], stages: Sequence[StageRecord], plans: Sequence[CoalitionPlan]
) -> StageRecord:
    """The ids of the MLflow run, of this Prefect flow run and of the code's commit."""
    keys = [measure.key for plan in plans for measure in plan.measures]
    inputs = {"name": name, "stages": [stage.key for stage in stages], "measurements": keys}

    def compute(space: Workspace) -> dict[str, Any]:
        from royalty.infra.tracking.client import open_tracking

        tracking = open_tracking(settings())
        commit, flow_run = code_commit(), str(prefect.runtime.flow_run.id or "none")
        experiments = tracking.experiments()
        tags = {"git.commit": commit, "prefect.flow_run_id": flow_run, **_digests(stages)}
        note = _note(name, config, stages)
        run = tracking.start(tracking.RUNS, name, key=digest_of(inputs), note=note, tags=tags)
        tracking.note(run, note + _coalitions_link(experiments["coalitions"], run))
        tracking.log(run, params=_flat(config))
        rows = space.runs.coalitions(plan.key for plan in plans)
        measured: dict[str, list[MeasurementRecord]] = {key: [] for key in rows}
        for measurement in space.runs.measurements(keys).values():
            measured[measurement.coalition].append(measurement)
        data, paid = (next(stage.outputs for stage in stages if stage.name == own) for own in ("ingest", "pay"))
        aliases = ["candidate"] if paid["refusal"] else ["candidate", "credited"]
        with progress("Log to MLflow", len(stages) + len(rows)) as advance:
            logged = {}
            for stage in stages:
                logged[stage.key] = _log_stage(tracking, space, run, stage, data, f"royalty-{name}", aliases)
                advance(1)
            finished = [coalition_run(row, measured[row.key], data) for row in rows.values()]
            logged |= tracking.record_all(tracking.COALITIONS, finished, run, advance)
        return {"run": run, "commit": commit, "flow_run": flow_run, "experiments": experiments, "runs": logged}

    return run_stage(
        "track", inputs=inputs, modules=(__name__, "royalty.infra.tracking.client"), compute=compute, one_by_one=True
    )


def _digests(stages: Sequence[StageRecord]) -> dict[str, str]:
    """Digests on the way from images to money, as tags: what `royalty trace` takes."""
    outputs = {stage.name: stage.outputs for stage in stages}
    ways = (
        ("base_model", "train", "model"),
        ("pruned_model", "prune", "model"),
        ("credit_table", "credit", "table"),
        ("payout_table", "pay", "payout"),
        ("statement", "pay", "statement"),
    )
    return {f"royalty.{tag}": str(outputs[stage][key]) for tag, stage, key in ways if outputs[stage].get(key)}


def _note(name: str, config: Mapping[str, Any], stages: Sequence[StageRecord]) -> str:
    """What a colleague should know of a run, in Markdown."""
    outputs = {stage.name: stage.outputs for stage in stages}
    data, credit, pay = outputs["ingest"], outputs["credit"], outputs["pay"]
    paid = f"**Not paid**: {escaped(pay['refusal'])}." if pay["refusal"] else f"Paid by statement `{pay['statement']}`."
    gained = credit["grand_utility"] - credit["null_utility"]
    return (
        f"Credits {len(data['contributors'])} contributors of {data['total_items']} images for what a model trained on "
        f"them is worth by `{config['property']}`: everybody's scores {credit['grand_utility']:.4g}, {gained:+.4g} to "
        f"nobody's, from {credit['trained']} coalitions. {paid}\n\n"
        "Under *Artifacts*: `index.html` and `report.html` tell it all, `credit.json`, `payout.json` and `values.json` "
        f"are its tables. `royalty trace {name}` walks the whole way again and verifies it.\n\n"
    )


def _coalitions_link(experiment: str, run: str) -> str:
    """Where the coalitions of a run are, most useful first."""
    found = quote(f"tags.`mlflow.parentRunId` = '{run}'")
    order = quote("metrics.`utility`")
    address = f"#/experiments/{experiment}/runs?searchFilter={found}&orderByKey={order}&orderByAsc=false"
    return f"[Its coalitions, by utility]({address})"


def _log_stage(
    tracking: Tracking,
    space: Workspace,
    parent: str,
    stage: StageRecord,
    data: Mapping[str, Any],
    registered: str,
    aliases: Sequence[str],
) -> str:
    """Log a stage as a child; returns its MLflow run."""
    child = tracking.start(tracking.RUNS, stage.name, key=stage.key, parent=parent, note=NOTES[stage.name])
    outputs = stage.outputs
    metrics = {key: outputs[key] for key in METRICS if key in outputs}
    metrics |= {key: value for key, value in outputs.get("diagnostics", {}).items() if isinstance(value, float)}
    metrics |= {f"utility_{model}": value for model, value in outputs.get("utility", {}).items()}
    metrics |= {f"step_seconds_{model}": value for model, value in outputs.get("step_seconds", {}).items()}
    metrics |= {f"utility_stderr_{model}": value for model, value in outputs.get("utility_stderr", {}).items()}
    tracking.log(child, params=_flat(stage.inputs), metrics=metrics | {"seconds": stage.seconds})
    given = Given("train", data["train"], {"items": data["total_items"], "contributors": data["items"]})
    for run in (parent, child) if stage.name == "ingest" else (child,):
        tracking.dataset(run, given)
    if stage.name in MODEL_NAMES:
        payload = space.artifacts.get(outputs["model"])
        values = {key: outputs[key] for key in ("parameters", "multiply_adds")}
        model = tracking.model(child, MODEL_NAMES[stage.name], payload, outputs["model"], values)
        if stage.name == "train":
            tracking.register(registered, model, child, f"Base model `{outputs['model']}`.", aliases)
    if "losses" in outputs:
        tracking.curve(child, "loss", outputs["losses"])
    if stage.name == "credit":
        tracking.log(parent, metrics=metrics)
    for file, table in _tables(space, stage).items():
        tracking.table(parent, table, file)
    tracking.finish(child)
    return child


def _tables(space: Workspace, stage: StageRecord) -> dict[str, pd.DataFrame]:
    """What a stage found, as the tables that MLflow shows and compares."""
    match stage.name:
        case "credit":
            return {"credit.json": load_table(space, stage.outputs["table"])}
        case "pay":
            return {"payout.json": pd.DataFrame(stage.outputs["rows"])}
        case "gmvaluator":
            values = load_table(space, stage.outputs["table"]).sort_values("value", ascending=False)
            return {"values.json": values.head(SHOWN_ROWS)}
        case _:
            return {}


def coalition_run(row: CoalitionRecord, measured: Sequence[MeasurementRecord], data: Mapping[str, Any]) -> FinishedRun:
    """What MLflow is told of a coalition."""
    who = f"{len(row.members)} of {len(data['contributors'])} contributors" if row.members else "nobody"
    made = f"by `{row.method}` on the {row.items} images of {who}"
    note = (
        f"A model trained {made}." if row.checkpoint else f"The training {made} failed: {escaped(row.failure or '')}."
    )
    metrics = {"size": float(len(row.members)), "items": float(row.items), "train_seconds": row.train_seconds}
    if measured:
        metrics["utility"] = sum(one.utility for one in measured) / len(measured)
        metrics["sample_seconds"] = sum(one.sample_seconds for one in measured)
        note += f" What it makes has a {measured[0].property} of {metrics['utility']:.4g}: its utility."
    brought = dict(zip(data["contributors"], data["contributor_digests"], strict=True))
    own = {name: brought.get(name) for name in row.members}
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
        dataset=Given("coalition", digest_of(own), {"items": row.items, "contributors": len(row.members)}),
    )


def escaped(text: str) -> str:
    """Text as Markdown shows it, whatever it holds: names of contributors are other people's."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~&])", r"\\\1", text).replace("\n", " ")


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names, values cut to what MLflow holds."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flat(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(inner)[:500]
    return flat
