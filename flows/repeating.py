"""Repeat a finished run from its stores, without a Prefect server."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from royalty.flows.credit import CreditResult
    from royalty.tasks.config.credit import CreditConfig


def repeated(config: CreditConfig, accept_uncertainty: bool = False, *, show_progress: bool) -> CreditResult | None:
    """The result of a run that is finished and reused as a whole; None if it has to run as a flow.

    It has to if something must be computed or paid, or if Prefect was imported or has a server, which is then told of
    every run.
    """
    from royalty.infra.pages.terminal import bars, print_announcement
    from royalty.infra.processes.importing import collection_paused
    from royalty.infra.processes.progress import progress, shown_on
    from royalty.infra.servers.session import LOGGED, configured
    from royalty.infra.settings import settings
    from royalty.infra.workspace import check_home, open_workspace

    if config.payout.post or os.environ.get("PREFECT_API_URL") or "prefect" in sys.modules:
        return None
    check_home(settings())
    runs = open_workspace(settings()).runs
    if not runs.knows(config.name) or all(row.inputs["name"] != config.name for row in runs.stages(LOGGED)):
        return None
    configured()
    announcements: list[Any] = []
    with ExitStack() as stack:
        if show_progress:
            stack.enter_context(shown_on(stack.enter_context(bars()), announcements.append))
        stack.enter_context(progress("Read the finished run", 1))
        with collection_paused():
            from royalty.flows.credit import repeat

            result = repeat(config, accept_uncertainty)
        if result is not None:
            for announcement in announcements:
                print_announcement(announcement)
    return result
