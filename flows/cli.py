"""The `royalty` command line. Each command is a thin call of a flow.

Imports wait inside the commands: the configuration is checked before anything heavy is loaded, and
what is heavy loads while the server starts.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from flows.credit import CreditResult
    from tasks.config import PayoutConfig

STARTED = time.perf_counter()

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def royalty() -> None:
    """Credit, value and pay the people whose images trained a generative model."""


@app.command()
def run(
    config: Annotated[Path | None, typer.Option(help="Configuration: a YAML file.")] = None,
    preset: Annotated[str | None, typer.Option(help="A configuration that comes with the package.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of this run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and no progress.")] = False,
) -> None:
    """Train, prune, measure coalitions; then credit, report and pay the contributors."""
    from flows.configuration import load_config
    from infra.processes import preload
    from infra.session import session
    from infra.settings import settings
    from infra.workspace import check_home, open_workspace
    from tasks.stage import WORKER

    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    configuration = load_config(file=config, preset=preset, name=name)
    check_home(settings().root)
    if not open_workspace(settings()).runs.knows(configuration.name):
        # There will be work to do, and its imports can be had while the server starts. A child process
        # imports the main module too, which is this one.
        preload(__name__, WORKER)
    with session(show_progress=not as_json) as wait_for_server:
        from flows.credit import credit

        wait_for_server()
        result = credit(configuration)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
    else:
        _print(result, configuration.payout, time.perf_counter() - STARTED)


@app.command()
def ui() -> None:
    """Serve MLflow's and Prefect's pages, over the state that runs left, until Ctrl-C."""
    from infra.session import serve_pages

    serve_pages()


def main() -> None:
    """Entry point: what a user can mend is one message; anything else is a traceback."""
    try:
        app()
    except Exception as error:
        if not _mendable(error):
            raise
        sys.stderr.write(f"royalty: {error}\n")
        sys.exit(1)


def _print(result: CreditResult, payout: PayoutConfig, seconds: float) -> None:
    from infra.terminal import console, print_credit, print_timing

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
    print_credit(columns, cells)
    print_timing([timing.as_row() for timing in result.timings], sum(timing.busy for timing in result.timings), seconds)
    console.print(f"Coalitions  {result.measured} measured, {result.reused} reused")
    console.print(f"Report      {result.folder}/report.html", soft_wrap=True)
    console.print(f"MLflow run  {result.mlflow_run}")


def _mendable(error: Exception) -> bool:
    from sqlalchemy.exc import DatabaseError

    from flows.configuration import ConfigError
    from infra.artifacts import StoreError
    from infra.ledger import LedgerConflict
    from infra.processes import ProcessFailed
    from infra.runstore import ConfigConflict
    from models.errors import InputError

    return isinstance(
        error, ConfigError | DatabaseError | StoreError | LedgerConflict | ProcessFailed | ConfigConflict | InputError
    )


def _interrupt(number: int, frame: Any) -> None:
    from infra.processes import stop_all

    stop_all()
    sys.stderr.write("\nroyalty: interrupted; what is finished is kept, and the same command goes on from there\n")
    raise KeyboardInterrupt
