"""Credit and pay the contributors of a generator: sparsified fine-tuning with Shapley values.

As in the paper: ingest images with their contributors; train a generator on all images; prune it and fine-tune it to
recover; sample coalitions of contributors, fine-tune the pruned model on each, and measure the generated images: the
utility of the coalition. KernelSHAP (eq. 5) estimates the Shapley values of that game: the credit. A pool of money is
divided by the credit, as far as it is certain.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect import flow

from royalty.flows.fan_out import measure_all
from royalty.flows.runner import RUNNER
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home, open_workspace
from royalty.models.base.errors import InputError
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.anchor import Game, record_anchor
from royalty.tasks.credit.coalitions import draw_coalitions, made_here, plan_coalitions, unfinished
from royalty.tasks.credit.counts import CountCheck, check_run
from royalty.tasks.credit.estimate import estimate_credit, record_credit
from royalty.tasks.credit.ingest import ingest
from royalty.tasks.credit.pipeline import train_pipeline
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.stopping import Verdict, assess, first_look
from royalty.tasks.credit.training import (
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
from royalty.tasks.items.gmvaluator import match_grand_model
from royalty.tasks.pay.division import pay
from royalty.tasks.pay.identities import check_identities
from royalty.tasks.pay.payees import load_payees
from royalty.tasks.report.report import write_report
from royalty.tasks.report.stages import RunStages
from royalty.tasks.report.track import prepare_tracking, track
from royalty.tasks.stages.timing import Timing, fan_out_timing, stage_timing
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class CreditResult:
    """The result of a run.

    Attributes:
        rows: `payout.csv` as records, highest credit first.
        table: digest of the credit table.
        folder: contains `report.html`, `credit.parquet` and `payout.csv`.
        measured, reused: coalitions trained or measured by this run, and coalitions found in the run store.
        refusal: why nothing was paid; None if the pool was paid.
        ended: why measuring ended, and how certain the credit is.
        notes: sentences that the report shows next to the numbers.
    """

    name: str
    rows: list[dict[str, Any]]
    table: str
    folder: str
    mlflow_run: str
    measured: int
    reused: int
    refusal: str | None
    ended: str
    notes: list[str]
    timings: list[Timing]


class PayoutRefused(InputError):
    """The gates or terms refused the payout. Everything else of the run is done, and its report is written.

    Attributes:
        result: the result of the run, with its credit and without amounts.
    """

    def __init__(self, reason: str, result: CreditResult) -> None:
        super().__init__(reason, result)  # the arguments from which unpickling recreates it in another process
        self.reason, self.result = reason, result

    def __str__(self) -> str:
        return self.reason


@flow(name="credit", task_runner=RUNNER)
def credit(config: CreditConfig, accept_uncertainty: bool = False) -> CreditResult:
    """Run the method on one image set. Finished work of this run or of another one is reused.

    Args:
        accept_uncertainty: pay although the standard error exceeds `payout.limits.stderr`.
    """
    return value(config, prepare(config), notes=[], accept_uncertainty=accept_uncertainty)


@flow(name="forecast", task_runner=RUNNER)
def forecast(config: CreditConfig) -> Verdict:
    """Measure a pilot of the coalitions, which a run will reuse, and estimate time and precision of the whole run."""
    game = prepare(config)
    config = settle_images(game.pruned, game.judge, config)
    plans = plan(config, game)
    pilot = plans[: first_look(game.data, config)]
    measure_all(unfinished(pilot), config.coalitions.timeout_minutes)
    return assess(game.data, pilot, plans, config)


def prepare(config: CreditConfig, check: CountCheck = check_run) -> Game:
    """Train the models that coalitions start from, and the classifier that measures them. Invalid input fails first.

    Args:
        check: checks the number of contributors for the caller's method.
    """
    check_home(settings().root)
    data = ingest(config.data, config.seed, needs_labels(config), config.generator.needs_texts)
    check(len(data.outputs.contributors), config)
    check_property(config.property)
    check_weights(*config.matching.chosen)
    load_payees(config.payout, config.data)  # rejects invalid accounts
    check_generator(data, config)
    try_base(data, config)
    # Claim the name only after all checks: after a failed check it stays free for the corrected settings.
    open_workspace(settings()).runs.claim_name(config.name, config.claimed(), config.reread)
    judge = train_classifier(data, config)
    trained_base = config.generator.trained_base
    pipeline = train_pipeline(trained_base, config.seed) if trained_base else None
    base = train_generator(data, config, pipeline)
    pruned = prune(data, base, config)
    game = Game(data, judge, base, pruned, pipeline)
    record_anchor(config.name, game)
    return game


def plan(config: CreditConfig, game: Game) -> list[CoalitionPlan]:
    """Plans of the grand and the null coalition and of all others that may be measured, in the order of measuring."""
    coalitions = draw_coalitions(game.data, config.coalitions, config.seed)
    method, seeds = config.coalitions.method, range(config.seed, config.seed + config.coalitions.seeds)
    return plan_coalitions(coalitions, game.data, game.start(method), game.judge, config, method, seeds)


def measure_until(config: CreditConfig, game: Game, plans: Sequence[CoalitionPlan]) -> Verdict:
    """Measure coalitions in the order of their plans, until the target is reached or all are measured."""
    end = min(first_look(game.data, config), len(plans)) if config.stopping.has_target else len(plans)
    while True:
        measure_all(unfinished(plans[:end]), config.coalitions.timeout_minutes)
        verdict = assess(game.data, plans[:end], plans, config)
        if verdict.certainty.reached or end == len(plans):
            return replace(verdict, plans=end)
        end = min(end + config.stopping.step * config.coalitions.seeds, len(plans))


def value(config: CreditConfig, game: Game, notes: Sequence[str], accept_uncertainty: bool = False) -> CreditResult:
    """Measure coalitions until the target is reached; then credit, pay, match, log and report.

    Args:
        accept_uncertainty: pay although the standard error exceeds `payout.limits.stderr`.

    Raises:
        PayoutRefused: the credit does not pass the gates or the terms of the payout. Everything except the payout is
            done.
    """
    config = settle_images(game.pruned, game.judge, config)
    measured = measure_models(game.base, game.pruned, game.data, game.judge, config)
    plans = plan(config, game)
    preparing = [prepare_tracking.submit()] if unfinished(plans) else []  # runs while coalitions are measured
    began = time.perf_counter()
    verdict = measure_until(config, game, plans)
    plans = plans[: verdict.plans]
    fresh = made_here(plans)
    measuring = fan_out_timing(fresh, time.perf_counter() - began)

    estimate = estimate_credit(game.data, plans, config)  # KernelSHAP
    record_credit(config.name, estimate)
    pool = config.payout.name or config.name
    terms = config.payout.accepting_uncertainty(accept_uncertainty)
    paid = pay(estimate, terms, pool, payees=load_payees(config.payout, config.data), source=config.name)
    matched = match_grand_model(game.data, plans, config)

    stages = RunStages(
        ingest=game.data,
        classifier=game.judge,
        pipeline=game.pipeline,
        train=game.base,
        prune=game.pruned,
        measure=measured,
        credit=estimate,
        pay=paid,
        match=matched,
    )
    stages = replace(stages, track=track(config.name, config.claimed(), stages, plans, wait_for=preparing))
    timings = [*map(stage_timing, stages.finished), measuring]
    notes = [*notes, verdict.sentence]
    refusal = paid.outputs.refusal
    checks = [] if refusal else check_identities(config.name, estimate, config.payout, game.data)
    report = write_report(config.name, config, stages, [timing.as_row() for timing in timings], notes, checks)
    result = CreditResult(
        name=config.name,
        rows=paid.outputs.rows,
        table=estimate.outputs.table,
        folder=report.folder,
        mlflow_run=stages.logged_run.outputs.run,
        measured=len(fresh),
        reused=len({plan.key for plan in plans} - set(fresh)),
        refusal=refusal,
        ended=verdict.sentence,
        notes=notes,
        timings=[*timings, stage_timing(report.stage)],
    )
    if refusal:
        reason = f"nothing was paid from the pool {pool!r}: {refusal}. The credit is in {report.folder}"
        raise PayoutRefused(reason, result)
    return result
