"""Trace the lineage of an ID: from a payout to the images behind it, with every hash verified."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from royalty.infra.pages.trace import Trace, render_trace
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.tasks.report.trace import trace_target
from royalty.tasks.report.trace_id import identify


@flow(name="trace", flow_run_name="trace {asked}")
def trace(asked: str, html: Path | None = None) -> Trace:
    """Follow the lineage of an ID, and verify the hash of every artifact in it.

    Args:
        asked: name of a run, or at least 8 digits of the ID of a payout statement, credit table, model, MLflow run or
            item.
        html: also write the trace to this file as an HTML page.

    Raises:
        InputError: the ID is unknown or ambiguous, or no run is recorded.
    """
    if not settings().database_url and not (settings().root / "royalty.db").exists():
        raise InputError(f"no run is recorded in {settings().root}; set ROYALTY_HOME to the folder of a run")
    space = open_workspace(settings())
    lineage = trace_target(space, asked, identify(space, asked))
    if html is not None:
        write_whole(html, render_trace(lineage).encode())
    return lineage
