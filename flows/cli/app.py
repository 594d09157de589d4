"""The `royalty` command line: each command calls one flow.

Commands import modules inside their functions: the configuration is checked before heavy libraries load, and those
load while the Prefect server starts.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from royalty.flows.cli.command import (
    AcceptUncertainty,
    AsJson,
    ConfigFile,
    Data,
    Name,
    Preset,
    print_result,
    showing_refused,
    working,
)
from royalty.flows.cli.doctor import doctor
from royalty.flows.cli.evaluate import evaluate_app
from royalty.flows.cli.pay import ledger, payout
from royalty.flows.cli.presets import presets
from royalty.flows.cli.revalue import revalue
from royalty.flows.cli.trace import trace
from royalty.flows.cli.value import value
from royalty.flows.cli.weights import weights_app
from royalty.tasks.credit.plan import WORKER

if TYPE_CHECKING:
    from royalty.tasks.credit.stopping import Verdict

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(weights_app, name="weights")


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        sys.stdout.write(f"royalty {version('royalty')}\n")
        raise typer.Exit


@app.callback()
def royalty(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Credit, value and pay the people whose images trained a generative model."""


@app.command()
def run(
    config: ConfigFile = None,
    preset: Preset = None,
    data: Data = None,
    name: Name = None,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="Measure only a pilot, then print the expected time and precision.")
    ] = False,
    accept_uncertainty: AcceptUncertainty = False,
    as_json: AsJson = False,
) -> None:
    """Train and prune a generator, measure coalitions of contributors, then credit and pay them and write a report."""
    from royalty.flows.configuration import load_config

    configuration = load_config(file=config, preset=preset, name=name, data=data)
    with (
        showing_refused(configuration.payout, as_json),
        working(configuration.name, flow="royalty.flows.credit", works=[WORKER], show_progress=not as_json),
    ):
        from royalty.flows import credit

        verdict = credit.forecast(configuration) if forecast else None
        result = None if forecast else credit.credit(configuration, accept_uncertainty)
    if verdict is not None:
        _print_forecast(verdict, as_json)
    elif result is not None:
        print_result(result, configuration.payout, as_json)


app.command()(presets)
app.command()(revalue)
app.command()(value)
app.command()(trace)
app.command()(payout)
app.command()(ledger)
app.command()(doctor)


@app.command()
def ui() -> None:
    """Serve the MLflow and Prefect pages of recorded runs until Ctrl-C."""
    from royalty.infra.servers.session import serve_pages

    serve_pages()


def main() -> None:
    """Entry point: errors that a user can fix are printed as one message; others as a traceback."""
    try:
        app()
    except Exception as error:
        if not _user_can_fix(error):
            raise
        sys.stderr.write(f"royalty: {error}\n")
        sys.exit(1)


def _print_forecast(verdict: Verdict, as_json: bool) -> None:
    from royalty.infra.pages.terminal import console

    expected = {
        "coalitions": verdict.expected,
        "hours": verdict.expected_hours,
        "interval_width": verdict.expected_width,
        "target_within_budget": verdict.certainty.needed is not None and verdict.certainty.needed <= verdict.budget,
    }
    if as_json:
        sys.stdout.write(json.dumps({**asdict(verdict), "expected": expected}) + "\n")
        return
    now = verdict.certainty
    console.print(f"Pilot     {now.coalitions} coalitions, {verdict.seconds:.1f} s each on one worker")
    console.print(f"Now       intervals {now.width:.2f} wide on average")
    console.print(f"          {now.error}")
    console.print(f"Expected  {verdict.expected} coalitions of at most {verdict.budget}")
    console.print(f"          {verdict.expected_hours:.2f} more hours on {verdict.workers} worker(s)")
    console.print(f"          intervals {verdict.expected_width:.2f} wide on average")
    if now.needed is not None and now.needed > verdict.budget:
        console.print(f"The target needs about {now.needed} coalitions; raise `coalitions.count` or relax the target.")


def _user_can_fix(error: Exception) -> bool:
    from sqlalchemy.exc import DatabaseError

    from royalty.flows.configuration import ConfigError
    from royalty.infra.ledger.postings import LedgerConflict
    from royalty.infra.processes.workers import ProcessFailed
    from royalty.infra.stores.artifacts import StoreError
    from royalty.infra.stores.runstore import ConfigConflict
    from royalty.models.base.errors import InputError

    return isinstance(
        error, ConfigError | DatabaseError | StoreError | LedgerConflict | ProcessFailed | ConfigConflict | InputError
    )
