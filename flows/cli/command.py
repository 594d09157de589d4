"""What the commands of `royalty` share: their options, and the servers, progress and signals around a flow."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from royalty.flows.credit import CreditResult
    from royalty.tasks.config.payout import PayoutConfig

STARTED = time.perf_counter()

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration: a YAML file.")]
Preset = Annotated[str | None, typer.Option(help="A configuration that comes with the package.")]
Name = Annotated[str | None, typer.Option(help="Name of this run.")]
Data = Annotated[
    Path | None, typer.Option(help="Where the images lie, of a preset that brings none; or instead of `data.path`.")
]
SourceOf = Annotated[
    Path | None, typer.Option(help="A folder of images with metadata.csv, a Parquet file, or an .npz file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and no progress.")]


@contextmanager
def working(known: str | None, *, flow: str, works: Sequence[str], show_progress: bool) -> Iterator[None]:
    """Servers, progress and signals around a flow.

    Args:
        known: a run that has nothing left to train if the run store knows its name.
        flow: module of the flow, heavy to import; that is done while the server starts.
        works: modules of what the flow runs in processes of its own, which are forked from one that has them.
    """
    from royalty.infra.processes.workers import preload
    from royalty.infra.servers.session import session
    from royalty.infra.settings import settings
    from royalty.infra.workspace import check_home, open_workspace

    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    check_home(settings().root)
    if known is None or not open_workspace(settings()).runs.knows(known):
        preload(*works)  # there will be work to do, and its imports can be had while the server starts
    with session(show_progress=show_progress) as wait_for_server:
        from prefect.exceptions import TerminationSignal

        import_module(flow)
        wait_for_server()
        try:
            yield
        except TerminationSignal:
            _interrupt(signal.SIGTERM, None)


def print_result(result: CreditResult, payout: PayoutConfig, as_json: bool) -> None:
    """The table of credit and payouts, where the time went, and where the rest is."""
    from royalty.infra.pages.terminal import console, print_table, print_timing

    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    columns = ("Contributor", "Images", "Credit", "Interval", "Share", f"Payout ({payout.currency})")
    cells = [
        (
            row["contributor"],
            str(row["items"]),
            f"{row['credit']:+.3f}",
            f"{row['ci_low']:+.2f} to {row['ci_high']:+.2f}",
            f"{row['share']:.1%}",
            row["amount"],
        )
        for row in result.rows
    ]
    print_table(columns, cells)
    busy = sum(timing.busy for timing in result.timings)
    print_timing([timing.as_row() for timing in result.timings], busy, time.perf_counter() - STARTED)
    for note in result.notes:
        console.print(note)
    console.print(f"Coalitions  {result.measured} measured, {result.reused} reused")
    console.print(f"Report      {result.folder}/report.html", soft_wrap=True)
    console.print(f"MLflow run  {result.mlflow_run}")


def _interrupt(number: int, frame: Any) -> None:
    from royalty.infra.processes.workers import stop_all

    stop_all()
    sys.stderr.write("\nroyalty: interrupted; what is finished is kept, and the same command goes on from there\n")
    raise KeyboardInterrupt
