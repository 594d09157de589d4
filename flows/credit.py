"""Credit the contributors of a generator, and propose their payout: sparsified fine-tuning with Shapley values.

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

from royalty.flows.configuration import as_credit_config
from royalty.flows.fan_out import measure_all
from royalty.flows.languages import chosen_language
from royalty.flows.mistakes import explained
from royalty.flows.naming import named
from royalty.flows.payout import settle
from royalty.flows.runner import RUNNER
from royalty.infra.processes.progress import announce
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home, open_workspace
from royalty.models.base.errors import InputError
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.pipelines import pipeline_seed
from royalty.tasks.credit.anchor import Game, load_anchor, record_anchor
from royalty.tasks.credit.coalitions import draw_coalitions, made_here, plan_coalitions, plan_image_sets, unfinished
from royalty.tasks.credit.counts import ContributorCheck, check_one_pipeline, check_run
from royalty.tasks.credit.estimate import estimate_credit, pipelines_sentence, record_credit
from royalty.tasks.credit.fidelity import coalitions_to_retrain, compare_with_retrained, fidelity_sentence
from royalty.tasks.credit.grouping import MemberParts, group_contributors, groups_sentence
from royalty.tasks.credit.ingest import ingest
from royalty.tasks.credit.pipeline import train_pipeline
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.credit.samples import sample_ends
from royalty.tasks.credit.stages import Fidelity, Ingested
from royalty.tasks.credit.stopping import Verdict, assess, first_look
from royalty.tasks.credit.training import (
    check_generator,
    check_property,
    check_references,
    measure_models,
    needs_labels,
    prune,
    settle_images,
    train_classifier,
    train_generator,
    try_base,
)
from royalty.tasks.items.gmvaluator import match_grand_model
from royalty.tasks.items.image_credit import divide_among_images, image_credit_sentence
from royalty.tasks.pay.identities import check_identities
from royalty.tasks.pay.payees import check_terms, load_payees
from royalty.tasks.pay.periods import in_period
from royalty.tasks.report.report import write_report
from royalty.tasks.report.stages import RunStages
from royalty.tasks.report.track import prepare_tracking, track
from royalty.tasks.revalue.change import game_of_last_run
from royalty.tasks.revalue.drift import describe_anchor, measure_drift
from royalty.tasks.stages.task import NotFinished, check_may_compute, repeating
from royalty.tasks.stages.timing import Timing, fan_out_timing, stage_timing
from royalty.tasks.stages.weights import check_weights


@dataclass(frozen=True)
class CreditResult:
    """The result of a run.

    Attributes:
        rows: `payout.csv` as records, highest credit first.
        table: digest of the credit table.
        statement: ID of the ledger statement that paid the division; None if it is a proposal.
        refusal: why the terms refuse to pay this credit; None if they do not.
        folder: contains `report.html`, `credit.parquet` and `payout.csv`.
        measured, reused: coalitions trained or measured by this run, and coalitions found in the run store.
        ended: why measuring ended, and how certain the credit is.
        notes: sentences that the report shows next to the numbers.
    """

    name: str
    rows: list[dict[str, Any]]
    table: str
    statement: str | None
    refusal: str | None
    folder: str
    mlflow_run: str
    measured: int
    reused: int
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


@flow(name="credit", flow_run_name=named("credit"), task_runner=RUNNER)
@explained
def credit(config: CreditConfig | dict[str, Any] | str, accept_uncertainty: bool = False) -> CreditResult:
    """Run the method on one image set. Finished work of this run or of another one is reused.

    Args:
        config: a configuration, the contents of a configuration file, or the path of one.
        accept_uncertainty: pay although the standard error exceeds `payout.limits.stderr`.
    """
    config = as_credit_config(config)
    game = prepare(config)
    return value(config, game, anchor_notes(config.name, game.data), accept_uncertainty)


def repeat(config: CreditConfig, accept_uncertainty: bool = False) -> CreditResult | None:
    """The result of `credit` if nothing of it has to be computed or paid, without a flow run; otherwise None."""
    if config.payout.post:
        return None
    with repeating():
        try:
            return credit.fn(config, accept_uncertainty)
        except NotFinished:
            return None


@flow(name="forecast", flow_run_name=named("forecast"), task_runner=RUNNER)
@explained
def forecast(config: CreditConfig) -> Verdict:
    """Measure a pilot of the coalitions, which a run will reuse, and estimate time and precision of the whole run."""
    check_one_pipeline(config, "a forecast is")
    game = prepare(config)
    config = settle_images(game.pruned, game.judge, config)
    plans = plan(config, game)
    pilot = plans[: first_look(game.data, config)]
    if len(pilot) == len(plans):
        coalitions = len({(each.members, each.drawn) for each in plans})
        announce(
            f"This pilot measures all {coalitions} coalitions of the run. It takes as long as the measuring of the "
            "run, which reuses it. Stop with Ctrl-C; finished work is kept."
        )
    measure_all(unfinished(pilot), config)
    return assess(game.data, pilot, plans, config, game.grouped)


def prepare(config: CreditConfig, check: ContributorCheck = check_run, *, anew: bool = False) -> Game:
    """Train the models that coalitions start from, and the classifier that measures them. Invalid input fails first.

    If the last credited run of this name, or its revaluation, was of these images, its models are used.

    Args:
        check: checks settings of the caller's method against the contributors.
        anew: train on these images, even if a revaluation kept models that were trained on earlier ones.
    """
    check_home(settings())
    chosen_language()  # a file that lacks texts is an error before anything is trained
    data = ingest(
        config.data, config.seed, needs_labels(config), config.generator.needs_texts, config.coalitions.public
    )
    check(data.outputs.players, config)
    check_property(config.property)
    check_references(config.property, data.outputs.references)
    check_terms(config.payout, data.outputs.players, config.name)
    check_weights((*config.matching.entries, *config.image_credit.entries))
    load_payees(config.payout, config.data)  # rejects invalid accounts
    check_generator(data, config)
    try_base(data, config)
    # Claim the name only after all checks: after a failed check it stays free for the corrected settings.
    open_workspace(settings()).runs.claim_name(config.name, config.claimed(), config.reread)
    if not anew and (last := game_of_last_run(config, data)) is not None:
        return last
    grouped = group_contributors(data, config) if config.coalitions.groups else None
    game = replace(train_models(data, config), grouped=grouped)
    record_anchor(config.name, game)
    return game


def train_models(data: Ingested, config: CreditConfig) -> Game:
    """Train the classifier, the base model and its pruned copy."""
    judge = train_classifier(data, config)
    trained_base = config.generator.trained_base
    pipeline = train_pipeline(trained_base, config.seed) if trained_base else None
    base = train_generator(data, config, pipeline)
    return Game(data, judge, base, prune(data, base, config), pipeline)


def make_again(config: CreditConfig, data: Ingested) -> tuple[list[Game], list[list[CoalitionPlan]], float]:
    """Make the pipelines after the first, each from a seed of its own: models, plans of measured coalitions, and the
    seconds that measuring took.

    Each has as many coalitions as the first, so that a further pipeline changes no earlier one, and all are reused.
    """
    games, measured, seconds = [], [], 0.0
    for number in range(1, config.coalitions.pipelines):
        seeded = config.model_copy(update={"seed": pipeline_seed(config.seed, number)})
        game = train_models(data, seeded)
        plans = plan(seeded, game)
        began = time.perf_counter()
        measure_all(unfinished(plans), seeded)
        seconds += time.perf_counter() - began
        games.append(game)
        measured.append(plans)
    return games, measured, seconds


def anchor_notes(name: str, data: Ingested) -> list[str]:
    """Say from which models a revaluation started, if these images were revalued from models of earlier ones."""
    anchor = load_anchor(name)
    return [] if anchor.game.data.key == data.key else [describe_anchor(anchor, data, measure_drift(anchor, data))]


def plan(config: CreditConfig, game: Game) -> list[CoalitionPlan]:
    """Plans of the grand and the null coalition and of all others that may be measured, in the order of measuring."""
    method, seeds = config.coalitions.method, range(config.seed, config.seed + config.coalitions.seeds)
    start = game.start(method)
    if config.coalitions.units == "images":
        ends = [tuple(game.data.outputs.players), ()]
        planned = plan_coalitions(ends, game.data, start, game.judge, config, method, seeds)
        return [*planned, *plan_image_sets(game.data, start, game.judge, config, seeds)]
    coalitions = draw_coalitions(game.data, config.coalitions, config.seed, game.grouped)
    return plan_coalitions(coalitions, game.data, start, game.judge, config, method, seeds)


def measure_until(config: CreditConfig, game: Game, plans: Sequence[CoalitionPlan]) -> Verdict:
    """Measure coalitions in the order of their plans, until the target is reached or all are measured."""
    end = min(first_look(game.data, config), len(plans)) if config.stopping.has_target else len(plans)
    while True:
        measure_all(unfinished(plans[:end]), config)
        verdict = assess(game.data, plans[:end], plans, config, game.grouped)
        if verdict.certainty.reached or end == len(plans):
            return replace(verdict, plans=end)
        end = min(end + config.stopping.step * config.coalitions.seeds, len(plans))


def retrain_some(
    config: CreditConfig, game: Game, plans: Sequence[CoalitionPlan]
) -> tuple[list[CoalitionPlan], Fidelity | None]:
    """Retrain some of the measured coalitions in full, if asked, and compare them with their cheap models."""
    if not config.fidelity.retrain:
        return [], None
    coalitions = coalitions_to_retrain(plans, game.data.outputs.players, config, game.grouped)
    base, seeds = game.start("retrain"), [config.seed]
    retrained = plan_coalitions(coalitions, game.data, base, game.judge, config, "retrain", seeds)
    measure_all(unfinished(retrained), config)
    return retrained, compare_with_retrained(game.data, game.judge, plans, retrained, config)


def value(config: CreditConfig, game: Game, notes: Sequence[str], accept_uncertainty: bool = False) -> CreditResult:
    """Measure coalitions until the target is reached; then credit, divide the pool, match, log and report.

    The division is a proposal, unless `payout.post` is set.

    Args:
        accept_uncertainty: pay although the standard error exceeds `payout.limits.stderr`.

    Raises:
        PayoutRefused: the credit was to be paid, and does not pass the gates or the terms of the payout. Everything
            except the payout is done.
    """
    config = settle_images(game.pruned, game.judge, config)
    measured = measure_models(game.base, game.pruned, game.data, game.judge, config)
    plans = plan(config, game)
    pending = unfinished(plans)
    if pending:
        check_may_compute("coalitions")
    preparing = [prepare_tracking.submit()] if pending else []  # runs while coalitions are measured
    began = time.perf_counter()
    verdict = measure_until(config, game, plans)
    plans = plans[: verdict.plans]
    spent = time.perf_counter() - began
    games, further, spent_again = make_again(config, game.data)
    every = [plan for each in (plans, *further) for plan in each]
    fresh = made_here(every)
    measuring = fan_out_timing(fresh, spent + spent_again)

    retrained, fidelity = retrain_some(config, game, plans)
    matched = match_grand_model(game.data, plans, config)
    values, errors = matched.outputs.contributors or {}, matched.outputs.contributor_errors
    divided = MemberParts(game.grouped, matched.key, values, errors) if game.grouped else None
    estimate = estimate_credit(game.data, plans, config, retrained, divided, further)  # KernelSHAP
    record_credit(config.name, estimate)
    # Of credit that retrained models corrected, or that is the mean over pipelines.
    budget = verdict.budget * config.coalitions.pipelines
    verdict = replace(verdict, certainty=estimate.outputs.certainty, budget=budget)
    images = divide_among_images(game.data, game.judge, estimate, config) if config.image_credit.references else None
    pool = config.payout.name or config.name
    terms = in_period(config.payout.accepting_uncertainty(accept_uncertainty))
    payees = load_payees(terms, config.data)
    paid = settle(estimate, terms, pool, payees=payees, source=config.name, posting=terms.post, replace=terms.take_back)
    samples = sample_ends(game.data, game.judge, plans, config)

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
        samples=samples,
        fidelity=fidelity,
        images=images,
    )
    stages = replace(stages, track=track(config.name, config.claimed(), stages, every, wait_for=preparing))
    again = [stage for other in games for stage in other.trained]
    timings = [*map(stage_timing, stages.finished), *map(stage_timing, again), measuring]
    notes = [
        *notes,
        *([fidelity_sentence(fidelity.outputs)] if fidelity else []),
        *([image_credit_sentence(images.outputs)] if images else []),
        *([groups_sentence(game.grouped)] if game.grouped else []),
        *([pipelines_sentence(estimate.outputs)] if further else []),
        verdict.sentence,
        *([paid.unposted] if paid.unposted else []),
        *paid.remarks,
    ]
    refusal = paid.outputs.refusal
    checks = [] if refusal else check_identities(config.name, estimate, config.payout, game.data)
    report = write_report(
        config.name, config, stages, [timing.as_row() for timing in timings], notes, checks, chosen_language()
    )
    result = CreditResult(
        name=config.name,
        rows=paid.outputs.rows,
        table=estimate.outputs.table,
        statement=paid.statement,
        refusal=refusal,
        folder=report.folder,
        mlflow_run=stages.logged_run.outputs.run,
        measured=len(fresh),
        reused=len({plan.key for plan in every} - set(fresh)),
        ended=verdict.sentence,
        notes=notes,
        timings=[*timings, stage_timing(report.stage)],
    )
    if refusal and terms.post:
        reason = f"nothing was paid from the pool {pool!r}: {refusal}. The credit is in {report.folder}"
        raise PayoutRefused(reason, result)
    return result
