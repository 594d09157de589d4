"""Log a finished run to MLflow: its stages and coalitions as child runs, data, models, curves, images and tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import prefect.runtime
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.progress import progress
from royalty.infra.settings import settings
from royalty.infra.stores.keys import code_commit, digest_of
from royalty.infra.tracking.addresses import MODE
from royalty.infra.tracking.records import FinishedRun, Payment, Period
from royalty.infra.tracking.source import source_tags
from royalty.infra.workspace import Workspace
from royalty.models.properties.registry import chosen_property
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stages import INGEST
from royalty.tasks.pay.headline import headline
from royalty.tasks.report.coalition_runs import coalition_runs, logged_coalitions
from royalty.tasks.report.model_card import model_card
from royalty.tasks.report.payments import payment
from royalty.tasks.report.sample_sheets import sample_sheets
from royalty.tasks.report.stage_runs import StageRun, datasets, stage_runs
from royalty.tasks.report.stages import TRACK, RunStages, Tracked, TrackInputs, TrackOutputs
from royalty.tasks.report.text import escaped
from royalty.tasks.stages.periods import flow_started, stage_periods, whole_period
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.stage import as_json
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.infra.tracking.client import Tracking

CARD = "MODEL_CARD.md"


@task(name="prepare MLflow", cache_policy=NO_CACHE)
def prepare_tracking() -> None:
    """Create MLflow's database if it is missing. This takes seconds, and can run while coalitions are measured."""
    from royalty.infra.tracking.client import open_tracking  # MLflow takes seconds to import

    open_tracking(settings()).prepare()


@task(name="log to MLflow", cache_policy=NO_CACHE)
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
        paid = payment(space, stages.credit.outputs.table, stages.pay.outputs.refusal)
        tags = {**source_tags(commit), "prefect.flow_run_id": flow_run, **_digests(stages), **paid.tags}
        note = _note(name, config, stages, paid)
        periods = stage_periods(space.lineage, stages.finished)
        started = flow_started() or whole_period(periods).started
        run = tracking.start(tracking.RUNS, name, key=digest_of(as_json(inputs)), note=note, tags=tags, started=started)
        tracking.note(run, note + _coalitions_link(experiments["coalitions"], run))
        tracking.log(run, params=_flat(config))
        children = stage_runs(space, stages)
        with progress("Log to MLflow", len(children) + len({plan.key for plan in plans})) as advance:
            logged: dict[str, str] = {}
            models: dict[str, str] = {}
            for child in children:
                stage_run = _StageLogger(tracking, space, run, stages, periods).log(child)
                logged[child.stage.key] = stage_run.run
                models |= stage_run.models
                advance(1)
            card = model_card(name, config, stages, load_table(space, stages.credit.outputs.table))
            _register(tracking, name, run, stages, models, card)
            coalitions = coalition_runs(space, stages, plans, models)
            earlier = logged_coalitions(space, plans)
            logged |= tracking.record_all(tracking.COALITIONS, coalitions, run, advance, logged=earlier)
        _log_pictures(tracking, space, run, config, stages, coalitions, card)
        return TrackOutputs(run, commit, flow_run, experiments, logged)

    return run_here(TRACK, inputs, compute, one_by_one=True)


def _digests(stages: RunStages) -> dict[str, str]:
    """Digests of models and tables as MLflow tags. Each is a valid argument of `royalty trace`."""
    digests = {
        "base_model": stages.train.outputs.model,
        "pruned_model": stages.prune.outputs.model,
        "credit_table": stages.credit.outputs.table,
        "payout_table": stages.pay.outputs.payout,
    }
    return {f"royalty.{tag}": digest for tag, digest in digests.items() if digest}


def _note(name: str, config: Mapping[str, Any], stages: RunStages, paid: Payment) -> str:
    """Description of a run for MLflow, in Markdown."""
    data, credit = stages.ingest.outputs, stages.credit.outputs
    first = escaped(str(headline(stages.pay.outputs.rows)))
    gain = credit.grand_utility - credit.null_utility
    pipelines = f" of {len(counts)} pipelines" if (counts := stages.credit.inputs.pipelines) else ""
    return (
        f"Credits {len(data.players)} contributors of {data.total_items:,} images for the `{config['property']}` "
        f"of a model trained on them. Everybody's model scores {credit.grand_utility:.4g}, {gain:+.4g} compared with "
        f"nobody's. The credit is estimated from {credit.trained} models of coalitions{pipelines}. {first}\n\n"
        f"{paid.line}\n\n"
        "*Model metrics* has the loss curves and the sampled images. Under *Artifacts*, `report.html` is the report "
        "at the end of the run, with a page for each contributor; `credit.json`, `payout.json` and `values.json` are "
        f"its tables; `{CARD}` describes the model. `royalty trace {name}` traces the payout to the images and "
        "verifies each step.\n\n"
    )


def posted(statement: str | None) -> str:
    """Whether a division is paid or proposed, in Markdown."""
    return "Proposed, not paid" if statement is None else f"Paid by statement `{statement}`"


def _coalitions_link(experiment: str, run: str) -> str:
    """Link to the coalitions that a run used, also those logged for an earlier run; highest utility first."""
    used = quote(f"tags.`royalty.used_by.{run}` = 'yes'")
    order = quote("metrics.`utility`")
    address = f"#/experiments/{experiment}/runs?{MODE}&searchFilter={used}&orderByKey={order}&orderByAsc=false"
    return f"[Coalitions of this run, by utility]({address})"


@dataclass(frozen=True)
class _LoggedStage:
    """ID of the MLflow run of a stage, and IDs of its logged models by digest."""

    run: str
    models: Mapping[str, str]


@dataclass(frozen=True)
class _StageLogger:
    """Logs stages as child runs of a parent.

    Attributes:
        periods: when each stage was computed, by key.
    """

    tracking: Tracking
    space: Workspace
    parent: str
    stages: RunStages
    periods: Mapping[str, Period]

    def log(self, child: StageRun) -> _LoggedStage:
        stage, tracking = child.stage, self.tracking
        period = self.periods.get(stage.key) or Period(time.time() - stage.seconds, time.time())
        origin = self.space.lineage.origins([stage.key]).get(stage.key)
        tags = source_tags(origin.commit) if origin else {}
        run = tracking.start(
            tracking.RUNS,
            stage.name,
            key=stage.key,
            parent=self.parent,
            note=child.note,
            tags=tags,
            started=period.started,
        )
        tracking.log(run, params=_flat(as_json(stage.inputs)), metrics={**child.metrics, "seconds": stage.seconds})
        parts = datasets(self.stages.ingest.outputs)
        tracking.dataset(run, parts[0])
        if stage.name == INGEST.name:
            for part in parts:
                tracking.dataset(self.parent, part)
        for name, curve in child.losses.items():
            if child.model is None:  # otherwise the curve is logged with the model
                tracking.curve(run, "loss" if len(child.losses) == 1 else f"loss/{name}", curve, period)
            tracking.curve(self.parent, f"loss/{name}", curve, period)
        if child.of_run:
            tracking.log(self.parent, metrics=child.metrics)
        for file, table in child.tables.items():
            tracking.table(self.parent, table, file)
        models = self._log_model(run, child, period)
        tracking.finish(run, period.ended)
        return _LoggedStage(run, models)

    def _log_model(self, run: str, child: StageRun, period: Period) -> dict[str, str]:
        """Log the model of a stage, as an output of its run and of the parent; returns its ID by digest."""
        if (model := child.model) is None:
            return {}
        payload = self.space.artifacts.get
        return {model.digest: self.tracking.model(run, model, lambda: payload(model.digest), period, also=self.parent)}


def _register(tracking: Tracking, name: str, run: str, stages: RunStages, models: Mapping[str, str], card: str) -> None:
    """Register the base model as a version of the run's model."""
    aliases = ["candidate"] if stages.pay.outputs.refusal else ["candidate", "credited"]
    digest = stages.train.outputs.model
    data = stages.ingest.outputs
    brought = f"{data.total_items:,} images of {len(data.players)} contributors"
    note = f"The base model of `{name}`, trained on {brought}. SHA-256 `{digest}`."
    tracking.register(f"royalty-{name}", models[digest], run, note, aliases, card=card, digest=digest)


def _log_pictures(
    tracking: Tracking,
    space: Workspace,
    run: str,
    config: Mapping[str, Any],
    stages: RunStages,
    coalitions: Sequence[FinishedRun],
    card: str,
) -> None:
    """Log the sheets of sampled images, the property by size of coalition, and the model card."""
    from royalty.infra.pages.plots import mean_by_size, property_by_size  # matplotlib takes a second to import

    for sheet in sample_sheets(space.artifacts, stages):
        tracking.image(run, sheet.series, sheet.png, sheet.step)
    points = [(int(one.metrics["size"]), one.metrics["utility"]) for one in coalitions if "utility" in one.metrics]
    utility = chosen_property(config["property"]).title
    plot = property_by_size("Property by size of coalition", points, utility, stages.measure.outputs.utility["real"])
    now = time.time()
    tracking.curve(run, "utility/by_size", mean_by_size(points), Period(now, now))
    tracking.files(run, {"property-by-size.png": plot, CARD: card.encode()})


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to dotted names, with values cut to MLflow's limit of 500 characters."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flat(inner, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(inner)[:500]
    return flat
