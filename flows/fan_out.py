"""Distribute coalitions over the task runner of the flow."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import unmapped
from prefect.exceptions import TerminationSignal
from prefect.futures import as_completed

from royalty.infra.processes.progress import Advance, progress
from royalty.infra.processes.workers import stop_all
from royalty.infra.settings import settings
from royalty.infra.workspace import place_of
from royalty.tasks.credit.coalitions import measure_together, shares, unfinished
from royalty.tasks.credit.plan import CoalitionPlan
from royalty.tasks.stages.task import check_may_compute


def measure_all(pending: Sequence[CoalitionPlan], timeout_minutes: float) -> None:
    """Measure the coalitions on the task runner, several in each process, after training what their models share.

    Coalitions that another flow with the same `ROYALTY_HOME` is measuring are awaited last.
    """
    if not pending:
        return
    check_may_compute("coalitions")
    if parts := unfinished([part for plan in pending for part in plan.parts]):
        _run("Train what coalitions share", parts, timeout_minutes)
    _run("Measure coalitions", pending, timeout_minutes)


def _run(title: str, pending: Sequence[CoalitionPlan], timeout_minutes: float) -> None:
    with progress(title, len(pending)) as advance:
        if elsewhere := fan_out(pending, timeout_minutes, wait=False, advance=advance):
            fan_out(elsewhere, timeout_minutes, wait=True, advance=advance)


def fan_out(
    pending: Sequence[CoalitionPlan], timeout_minutes: float, *, wait: bool, advance: Advance
) -> list[CoalitionPlan]:
    """Measure the coalitions that no other flow is measuring, or, with `wait`, all; return those left to others."""
    groups = shares(pending)
    futures = measure_together.map(groups, unmapped(timeout_minutes), unmapped(place_of(settings())), unmapped(wait))
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
