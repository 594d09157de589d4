"""Credit and pay the contributors of a generator: sparsified fine-tuning with Shapley values.

Train a generator on everybody's images. Prune it, and let it recover. Finetune the pruned model on
sampled coalitions of contributors, and measure what each makes: the utility of the coalition. The
Shapley values of that game are the credit, and a pool of money is divided by it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect import flow, unmapped
from prefect.exceptions import TerminationSignal
from prefect.futures import as_completed

from infra.processes import stop_all
from infra.progress import Advance, progress
from infra.runners import task_runner
from infra.runstore import StageRecord
from infra.settings import settings
from infra.workspace import check_home, open_workspace, place_of
from models.errors import InputError
from models.training import Method
from tasks.anchor import record_anchor
from tasks.base import train_base
from tasks.coalitions import draw_coalitions, made_here, measure_together, plan_coalitions, shares, unfinished
from tasks.config import CreditConfig
from tasks.counts import CountCheck, check_run
from tasks.credit import estimate_credit, record_credit
from tasks.gmvaluator import match_grand_model
from tasks.identities import check_identities
from tasks.ingest import ingest
from tasks.pay import pay
from tasks.payees import load_payees
from tasks.plan import CoalitionPlan
from tasks.report import write_report
from tasks.stopping import Verdict, assess, first_look
from tasks.timing import Timing, fan_out_timing, stage_timing
from tasks.track import prepare_tracking, track
from tasks.training import (
    check_generator,
    check_property,
    measure_models,
    needs_labels,
    prune,
    settle_images,
    train_classifier,
    train_generator,
    try_base,
)
from tasks.weights import check_weights

RUNNER = task_runner(settings())


@dataclass(frozen=True)
class CreditResult:
    """What a run left.

    Attributes:
        rows: `payout.csv` as records, highest credit first.
        table: digest of the credit table.
        folder: holds `report.html`, `credit.parquet` and `payout.csv`.
        measured, reused: coalitions trained or measured now, and found in the run store.
        ended: what ended the measuring, and how certain the credit is.
        notes: what a reader of the report is told beside the numbers.
    """

    name: str
    rows: list[dict[str, Any]]
    table: str
    folder: str
    mlflow_run: str
    measured: int
    reused: int
    ended: str
    notes: list[str]
    timings: list[Timing]


@dataclass(frozen=True)
class Game:
    """All that decides what a coalition is worth: images, the judge of them, and the models to start from.

    Attributes:
        pipeline: what LoRAs are put on, if this run trained it.
    """

    data: StageRecord
    judge: StageRecord
    base: StageRecord
    pruned: StageRecord
    pipeline: StageRecord | None = None

    def start(self, method: Method) -> StageRecord:
        """The model that coalitions trained by a method start from."""
        return self.base if method in ("finetune", "retrain") else self.pruned

    @property
    def stages(self) -> dict[str, StageRecord]:
        stages = self.data, self.judge, self.pipeline, self.base, self.pruned
        return {stage.name: stage for stage in stages if stage}


@flow(name="credit", task_runner=RUNNER)
def credit(config: CreditConfig) -> CreditResult:
    """Run the method on one image set. What is finished already, here or in another run, is reused."""
    return value(config, prepare(config), notes=[])


@flow(name="forecast", task_runner=RUNNER)
def forecast(config: CreditConfig) -> Verdict:
    """Measure a pilot of the coalitions, which a run will reuse, and say what to expect of all."""
    game = prepare(config)
    config = settle_images(game.pruned, game.judge, config)
    plans = plan(config, game)
    pilot = plans[: first_look(game.data, config)]
    measure_all(unfinished(pilot), config.coalitions.timeout_minutes)
    return assess(game.data, pilot, plans, config)


def prepare(config: CreditConfig, check: CountCheck = check_run) -> Game:
    """Train what coalitions start from, and what judges them; first refuse all that would be refused later.

    Args:
        check: of what the caller does with the models.
    """
    check_home(settings().root)
    data = ingest(config.data, config.seed, needs_labels(config), config.generator.needs_texts)
    check(len(data.outputs["contributors"]), config)
    check_property(config.property)
    check_weights(*config.matching.chosen)
    load_payees(config.payout, config.data)  # refuses accounts that cannot be
    check_generator(data, config)
    try_base(data, config)
    # What was refused so far has trained nothing, so its name is still free for the mended settings.
    open_workspace(settings()).runs.claim_name(config.name, config.claimed(), config.reread)
    classifier = train_classifier(data, config)
    own = config.generator.trained_base
    pipeline = train_base(own, config.seed) if own else None
    base = train_generator(data, config, pipeline)
    pruned = prune(data, base, config)
    record_anchor(config.name, data, classifier, base, pruned, *([pipeline] if pipeline else []))
    return Game(data, classifier, base, pruned, pipeline)


def plan(config: CreditConfig, game: Game) -> list[CoalitionPlan]:
    """Everybody's and nobody's coalition, and all that may be measured, in the order of measuring."""
    coalitions = draw_coalitions(game.data, config.coalitions, config.seed)
    method, seeds = config.coalitions.method, range(config.seed, config.seed + config.coalitions.seeds)
    return plan_coalitions(coalitions, game.data, game.start(method), game.judge, config, method, seeds)


def value(config: CreditConfig, game: Game, notes: Sequence[str]) -> CreditResult:
    """Measure coalitions until they are enough; then credit, pay, log and report.

    Raises:
        InputError: credit does not pass the gates or the terms of the payout; all but the payout is done.
    """
    config = settle_images(game.pruned, game.judge, config)
    measured = measure_models(game.base, game.pruned, game.data, game.judge, config)
    plans = plan(config, game)
    pending = unfinished(plans)
    preparing = [prepare_tracking.submit()] if pending else []  # meanwhile
    began = time.perf_counter()
    verdict = measure_until(config, game, plans)
    plans = plans[: verdict.plans]
    fresh = made_here(plans)
    measuring = fan_out_timing(fresh, time.perf_counter() - began)

    estimate = estimate_credit(game.data, plans, config)
    record_credit(config.name, estimate)
    payees = load_payees(config.payout, config.data)
    payout = pay(estimate, config.payout, config.payout.name or config.name, payees=payees, source=config.name)
    matched = match_grand_model(game.data, plans, config)
    stages = {**game.stages, **{stage.name: stage for stage in (measured, estimate, payout, matched)}}
    described = config.claimed()
    stages["track"] = track(config.name, described, list(stages.values()), plans, wait_for=preparing)
    timings = [*map(stage_timing, stages.values()), measuring]
    notes = [*notes, verdict.sentence]
    refused = payout.outputs["refusal"]
    checks = [] if refused else check_identities(config.name, estimate, config.payout, game.data)
    report = write_report(config.name, config, stages, [timing.as_row() for timing in timings], notes, checks)
    if refused:
        raise InputError(
            f"nothing was paid from the pool {config.payout.name or config.name!r}: {refused}. The "
            f"credit is in {report.outputs['folder']}"
        )
    return CreditResult(
        name=config.name,
        rows=payout.outputs["rows"],
        table=estimate.outputs["table"],
        folder=report.outputs["folder"],
        mlflow_run=stages["track"].outputs["run"],
        measured=len(fresh),
        reused=len({plan.key for plan in plans} - set(fresh)),
        ended=verdict.sentence,
        notes=notes,
        timings=[*timings, stage_timing(report)],
    )


def measure_until(config: CreditConfig, game: Game, plans: Sequence[CoalitionPlan]) -> Verdict:
    """Measure coalitions in the order of their plans, until the target holds or there are no more."""
    end = min(first_look(game.data, config), len(plans)) if config.stopping.has_target else len(plans)
    while True:
        measure_all(unfinished(plans[:end]), config.coalitions.timeout_minutes)
        verdict = assess(game.data, plans[:end], plans, config)
        if verdict.certainty.reached or end == len(plans):
            return replace(verdict, plans=end)
        end = min(end + config.stopping.step * config.coalitions.seeds, len(plans))


def measure_all(pending: Sequence[CoalitionPlan], timeout_minutes: float) -> None:
    """Fan the coalitions out over the task runner, a few to a process.

    What another flow of this home is at is waited for at the end, when there is nothing else to do.
    """
    if not pending:
        return
    with progress("Measure coalitions", len(pending)) as advance:
        if left := fan_out(pending, timeout_minutes, wait=False, advance=advance):
            fan_out(left, timeout_minutes, wait=True, advance=advance)


def fan_out(
    pending: Sequence[CoalitionPlan], timeout_minutes: float, *, wait: bool, advance: Advance
) -> list[CoalitionPlan]:
    """Measure what no other flow is at, or, if this waits, all; what was left to others."""
    groups = shares(pending)
    futures = measure_together.map(groups, unmapped(timeout_minutes), unmapped(place_of(settings())), unmapped(wait))
    group_of = {future.task_run_id: group for future, group in zip(futures, groups, strict=True)}
    left: list[CoalitionPlan] = []
    try:
        for future in as_completed(list(futures)):
            keys, group = set(future.result()), group_of[future.task_run_id]
            left += [plan for plan in group if plan.key in keys]
            advance(len(group) - len(keys))
    except TerminationSignal:  # while a flow runs, Prefect turns SIGTERM into this
        stop_all()
        raise
    return left
