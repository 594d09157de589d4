"""Credit only what changed since the last credited run of the same name.

Images, settings and code are compared with that run. A coalition whose members did not change keeps its utility; the
others are measured from the models that the run kept. The pool is divided again, as a proposal unless `payout.post` is
set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from prefect import flow

from royalty.flows.configuration import as_credit_config
from royalty.flows.credit import CreditResult, anchor_notes, plan, prepare, value
from royalty.flows.mistakes import explained
from royalty.flows.naming import named
from royalty.flows.payout import settle
from royalty.flows.runner import RUNNER
from royalty.infra.pages.summary import Change, Moved, markdown
from royalty.infra.processes.progress import announce
from royalty.infra.processes.workers import preload
from royalty.infra.settings import settings
from royalty.infra.workspace import check_home, open_workspace
from royalty.models.base.errors import InputError
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.anchor import load_anchor
from royalty.tasks.credit.counts import check_one_pipeline
from royalty.tasks.credit.grouping import group_contributors
from royalty.tasks.credit.ingest import ingest
from royalty.tasks.credit.plan import WORKER, CoalitionPlan
from royalty.tasks.credit.training import needs_labels
from royalty.tasks.pay.announcing import announce_moved
from royalty.tasks.pay.payees import load_payees
from royalty.tasks.pay.periods import in_period
from royalty.tasks.report.prefect_artifacts import show_summary
from royalty.tasks.revalue.change import LastRun, compare_with_last_run, load_last_run
from royalty.tasks.revalue.movement import moved_between


@dataclass(frozen=True)
class Revaluation:
    """The result of a revaluation.

    Attributes:
        change: the differences from the last credited run.
        moved: contributors whose credit, rank or amount changed; None if nothing was revalued.
        result: the result of the run; None if nothing was revalued.
        rows: `payout.csv` as records, of the result or else of the last credited run.
        summary: all of this as Markdown.
    """

    change: Change
    moved: list[Moved] | None
    result: CreditResult | None
    rows: list[dict[str, Any]]
    summary: str


@flow(name="revalue", flow_run_name=named("revalue"), task_runner=RUNNER)
@explained
def revalue(
    config: CreditConfig | dict[str, Any] | str,
    retrain_base: bool = False,
    dry_run: bool = False,
    accept_uncertainty: bool = False,
) -> Revaluation:
    """Credit what changed since the last credited run of this name, starting from that run's models, the anchor.

    Args:
        config: a configuration, the contents of a configuration file, or the path of one.
        retrain_base: retrain the models that coalitions start from, and therefore every coalition.
        dry_run: report what changed and the cost of revaluing it, without revaluing.
        accept_uncertainty: pay although the standard error exceeds `payout.limits.stderr`.

    Raises:
        InputError: no run of this name has credit; several pipelines are configured; or the credit does not pass the
            gates of the payout.
        ConfigConflict: the name belongs to a run with other settings.
    """
    config = as_credit_config(config)
    check_one_pipeline(config, "a revaluation continues from the models")
    check_home(settings())
    anchor = load_anchor(config.name)
    if not dry_run:
        open_workspace(settings()).runs.claim_name(
            config.name, config.claimed(), config.reread
        )  # rejects other settings
    data = ingest(
        config.data, config.seed, needs_labels(config), config.generator.needs_texts, config.coalitions.public
    )
    last = load_last_run(config.name, data)
    grouped = group_contributors(data, config, last.game.grouped) if config.coalitions.groups else None
    game = replace(anchor.game, data=data, grouped=grouped)
    change = compare_with_last_run(config, last, data, _last_plans(config, last), plan(config, game), retrain_base)
    refusal = last.stages.pay.outputs.refusal
    if dry_run or not (change.found or (refusal and accept_uncertainty)):
        if not dry_run and config.payout.post:
            _pay(config, last)
        return _with_summary(config, Revaluation(change, None, None, last.rows, ""))
    preload(WORKER)  # takes seconds, so only once something has to be measured
    if retrain_base:
        result = value(config, prepare(config, anew=True), [], accept_uncertainty)
    else:
        result = value(config, game, anchor_notes(config.name, data), accept_uncertainty)
    moved = moved_between(last.rows, result.rows)
    announce_moved(config.name, moved)
    return _with_summary(config, Revaluation(change, moved, result, result.rows, ""))


def _pay(config: CreditConfig, last: LastRun) -> None:
    """Post the division of the last credited run, unless it is posted already."""
    terms = in_period(config.payout)
    payees = load_payees(terms, config.data)
    pool = terms.name or config.name
    paid = settle(
        last.stages.credit, terms, pool, payees=payees, source=config.name, posting=True, replace=terms.take_back
    )
    if paid.outputs.refusal:
        raise InputError(f"nothing changed, and nothing was paid: {paid.outputs.refusal}")
    if paid.unposted:
        announce(paid.unposted)


def _last_plans(config: CreditConfig, last: LastRun) -> list[CoalitionPlan] | None:
    """The last run's coalitions as the code plans them now; None if that run had other settings."""
    if open_workspace(settings()).runs.differences(config.name, config.claimed(), config.reread):
        return None
    return plan(config, last.game)


def _with_summary(config: CreditConfig, revaluation: Revaluation) -> Revaluation:
    """Add the summary to a revaluation, and show it on the Prefect page of the flow run."""
    summary = markdown(revaluation.change, revaluation.moved, currency=config.payout.currency)
    show_summary(config.name, summary)
    return replace(revaluation, summary=summary)
