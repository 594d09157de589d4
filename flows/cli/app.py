"""The `royalty` command line: each command calls one flow.

Commands import modules inside their functions: the configuration is checked before heavy libraries load, and those
load while the Prefect server starts.
"""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from royalty.flows.cli.approval import approvals, approve, reject
from royalty.flows.cli.attribution import attribute, credentials, find, index_app, keys_app, serve
from royalty.flows.cli.audit import audit_app
from royalty.flows.cli.case import case_app, optout_app
from royalty.flows.cli.command import (
    AcceptUncertainty,
    AsJson,
    ConfigFile,
    Data,
    Name,
    Pay,
    Preset,
    print_result,
    showing_refused,
    working,
)
from royalty.flows.cli.detect import detect
from royalty.flows.cli.distance import distance
from royalty.flows.cli.doctor import doctor
from royalty.flows.cli.evaluate import evaluate_app
from royalty.flows.cli.pay import ledger, payout
from royalty.flows.cli.people import balance, statement, tax
from royalty.flows.cli.presets import presets
from royalty.flows.cli.revalue import revalue
from royalty.flows.cli.select import select
from royalty.flows.cli.trace import trace
from royalty.flows.cli.tune import tune
from royalty.flows.cli.value import value
from royalty.flows.cli.weights import weights_app
from royalty.flows.repeating import repeated
from royalty.infra.wording import counted, visible
from royalty.tasks.credit.plan import WORKER

if TYPE_CHECKING:
    from royalty.tasks.credit.stopping import Verdict

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(weights_app, name="weights")
app.add_typer(index_app, name="index")
app.add_typer(keys_app, name="keys")
app.add_typer(case_app, name="case")
app.add_typer(optout_app, name="optout")
app.add_typer(audit_app, name="audit")


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
    pay: Pay = False,
    accept_uncertainty: AcceptUncertainty = False,
    as_json: AsJson = False,
) -> None:
    """Train and prune a generator, measure coalitions of contributors, credit them, and propose a payout."""
    from royalty.flows.configuration import load_config

    configuration = load_config(file=config, preset=preset, name=name, data=data, pay=pay)
    if not forecast and (finished := repeated(configuration, accept_uncertainty, show_progress=not as_json)):
        print_result(finished, configuration.payout, as_json)
        return
    with (
        showing_refused(configuration.payout, as_json),
        working(
            configuration.name,
            flow="royalty.flows.credit",
            works=[WORKER],
            show_progress=not as_json,
            configs=[configuration],
        ),
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
app.command()(tune)
app.command()(value)
app.command()(detect)
app.command()(distance)
app.command()(select)
app.command()(attribute)
app.command()(find)
app.command()(credentials)
app.command()(serve)
app.command()(trace)
app.command()(payout)
app.command()(ledger)
app.command()(approve)
app.command()(reject)
app.command()(approvals)
app.command()(balance)
app.command()(statement)
app.command()(tax)
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
        from royalty.flows.mistakes import user_can_fix

        if not user_can_fix(error):
            raise
        sys.stderr.write(visible(f"royalty: {error}\n"))
        sys.exit(1)
    finally:
        gc.freeze()  # on exit, Python would search everything that libraries have defined, which takes most of a second


def _print_forecast(verdict: Verdict, as_json: bool) -> None:
    from royalty.infra.pages.durations import duration
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
    console.print(
        f"Pilot      {now.coalitions} coalitions measured, each in {duration(verdict.seconds)} of one worker's time"
    )
    console.print(f"Precision  intervals are {now.width:.2g} wide on average; {now.error}")
    if verdict.expected <= now.coalitions:
        reason = "the target is met" if now.reached else "the pilot has measured all of them"
        console.print(f"Whole run  no coalitions are left to measure: {reason}")
        return
    left = verdict.expected - now.coalitions
    console.print(f"Whole run  {left} more coalitions, {verdict.expected} in all, of at most {verdict.budget}")
    time = duration(3600 * verdict.expected_hours)
    console.print(f"           about {time} more with {counted(verdict.workers, 'worker')}")
    console.print(f"           intervals {verdict.expected_width:.2g} wide on average")
    if now.needed is not None and now.needed > verdict.budget:
        console.print(f"The target needs about {now.needed} coalitions; raise `coalitions.count` or relax the target.")
