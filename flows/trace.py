"""Answer where something came from: the whole way from a payout to the images behind it, proved again."""

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


@flow(name="trace")
def trace(asked: str, html: Path | None = None) -> Trace:
    """Walk the lineage of an id, and hash every artifact on the way again.

    Args:
        asked: a run name, or 8 or more digits of the id of a payout statement, credit table, model, MLflow run or item.
        html: a file that the trace is written to as well.

    Raises:
        InputError: the id is unknown or ambiguous; nothing was recorded here.
    """
    if not settings().database_url and not (settings().root / "royalty.db").exists():
        raise InputError(f"no run was ever recorded in {settings().root}; set ROYALTY_HOME to the home of one")
    space = open_workspace(settings())
    found = trace_target(space, asked, identify(space, asked))
    if html is not None:
        write_whole(html, render_trace(found).encode())
    return found
