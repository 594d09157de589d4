"""Distribute work over the task runner of the flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from prefect import unmapped
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFutureList, as_completed

from royalty.infra.processes.progress import Advance, progress
from royalty.infra.processes.workers import stop_all
from royalty.infra.settings import settings
from royalty.infra.workspace import place_of
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.coalitions import measure_together, shares, side_by_side, unfinished
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.stages.task import check_may_compute

Result = TypeVar("Result")


def measure_all(pending: Sequence[CoalitionPlan], config: CreditConfig) -> None:
    """Measure the coalitions on the task runner, in processes, after training what their models share.

    Coalitions that another flow with the same `ROYALTY_HOME` is measuring are awaited last.
    """
    if not pending:
        return
    check_may_compute("coalitions")
    if parts := unfinished([part for plan in pending for part in plan.parts]):
        _run("Train what coalitions share", parts, config)
    _run("Measure coalitions", pending, config)


def _run(title: str, pending: Sequence[CoalitionPlan], config: CreditConfig) -> None:
    with progress(title, len(pending)) as advance:
        if elsewhere := fan_out(pending, config, wait=False, advance=advance):
            fan_out(elsewhere, config, wait=True, advance=advance)


def fan_out(
    pending: Sequence[CoalitionPlan], config: CreditConfig, *, wait: bool, advance: Advance
) -> list[CoalitionPlan]:
    """Measure the coalitions that no other flow is measuring, or, with `wait`, all; return those left to others."""
    groups = shares(pending, side_by_side(pending, config))
    timeout = unmapped(config.coalitions.timeout_minutes)
    futures = measure_together.map(groups, timeout, unmapped(place_of(settings())), unmapped(wait))
    group_of = {future.task_run_id: group for future, group in zip(futures, groups, strict=True)}
    elsewhere: list[CoalitionPlan] = []
    try:
        for future in as_completed(list(futures)):
            keys, group = set(future.result()), group_of[future.task_run_id]
            elsewhere += [plan for plan in group if plan.key in keys]
            advance(len(group) - len(keys))
    except TerminationSignal:  # while a flow runs, Prefect turns SIGTERM into this
        stop_all()
        raise
    return elsewhere


def results_of(futures: PrefectFutureList[Result], advance: Advance) -> list[Result]:
    """Wait for all futures, and return their results in order."""
    try:
        for future in as_completed(list(futures)):
            future.result()
            advance(1)
    except TerminationSignal:  # while a flow runs, Prefect turns SIGTERM into this
        stop_all()
        raise
    return [future.result() for future in futures]
