"""What the commands of `royalty` share: their options, and the servers, progress and signals around a flow."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration: a YAML file.")]
Name = Annotated[str | None, typer.Option(help="Name of this run.")]
Data = Annotated[
    Path | None, typer.Option(help="Where the images lie, of a preset that brings none; or instead of `data.path`.")
]
SourceOf = Annotated[
    Path | None, typer.Option(help="A folder of images with metadata.csv, a Parquet file, or an .npz file.")
]
MEASURING = ("tasks.measuring",)
"""What flows that measure coalitions run in processes of their own."""

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and no progress.")]


@contextmanager
def working(known: str | None, *, flow: str, works: Sequence[str], show_progress: bool) -> Iterator[None]:
    """Servers, progress and signals around a flow.

    Args:
        known: a run that has nothing left to train if the run store knows its name.
        flow: module of the flow, heavy to import; that is done while the server starts.
        works: modules of what the flow runs in processes of its own, which are forked from one that has them.
    """
    from infra.processes import preload
    from infra.session import session
    from infra.settings import settings
    from infra.workspace import check_home, open_workspace

    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    check_home(settings().root)
    if known is None or not open_workspace(settings()).runs.knows(known):
        # There will be work to do, and its imports can be had while the server starts. A child process
        # imports the main module too.
        preload("flows.cli", *works)
    with session(show_progress=show_progress) as wait_for_server:
        from prefect.exceptions import TerminationSignal

        import_module(flow)
        wait_for_server()
        try:
            yield
        except TerminationSignal:
            _interrupt(signal.SIGTERM, None)


def _interrupt(number: int, frame: Any) -> None:
    from infra.processes import stop_all

    stop_all()
    sys.stderr.write("\nroyalty: interrupted; what is finished is kept, and the same command goes on from there\n")
    raise KeyboardInterrupt
