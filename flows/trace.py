"""Answer where something came from: the whole way from a payout to the images behind it, proved again."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from infra.artifacts import write_whole
from infra.provenance import Trace, render_trace
from infra.settings import settings
from infra.workspace import open_workspace
from models.errors import InputError
from tasks.trace import trace_found
from tasks.trace_id import identify


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
    found = trace_found(space, asked, identify(space, asked))
    if html is not None:
        write_whole(html, render_trace(found).encode())
    return found
