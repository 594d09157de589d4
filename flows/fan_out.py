"""Fan coalitions out over the task runner of the flow."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import unmapped
from prefect.exceptions import TerminationSignal
from prefect.futures import as_completed

from royalty.infra.processes.progress import Advance, progress
from royalty.infra.processes.workers import stop_all
from royalty.infra.settings import settings
from royalty.infra.workspace import place_of
from royalty.tasks.credit.coalitions import measure_together, shares
from royalty.tasks.credit.plan import CoalitionPlan


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
