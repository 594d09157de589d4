"""Shared parts of the commands of `royalty`: options, and the servers, progress and signal handlers around a flow."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from royalty.models.base.errors import InputError

if TYPE_CHECKING:
    from royalty.flows.credit import CreditResult
    from royalty.tasks.config.base import StageConfig
    from royalty.tasks.config.payout import PayoutConfig

STARTED = time.perf_counter()

ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML configuration file.")]
Preset = Annotated[
    str | None, typer.Option(help="Name of a configuration in the package; `royalty presets` lists them.")
]
Name = Annotated[str | None, typer.Option(help="Name of this run.")]
Data = Annotated[
    Path | None, typer.Option(help="Path of the images, for presets without images; replaces `data.path`.")
]
SourceOf = Annotated[
    Path | None, typer.Option(help="A folder of images with metadata.csv, a Parquet file, or an .npz file.")
]
Pay = Annotated[
    bool, typer.Option("--pay", help="Post the division to the ledger; without it, the division is a proposal.")
]
AcceptUncertainty = Annotated[
    bool, typer.Option("--accept-uncertainty", help="Pay although the standard error exceeds `payout.limits.stderr`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, without progress bars.")]


@contextmanager
def working(
    known: str | None, *, flow: str, works: Sequence[str], show_progress: bool, configs: Sequence[StageConfig] = ()
) -> Iterator[None]:
    """Run a flow inside `started` (see its arguments), and end its processes in order on SIGTERM or SIGINT."""
    from royalty.flows.starting import started

    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    with started(known, flow=flow, works=works, show_progress=show_progress, configs=configs):
        from prefect.exceptions import TerminationSignal

        try:
            yield
        except TerminationSignal:
            _interrupt(signal.SIGTERM, None)


@contextmanager
def showing_refused(payout: PayoutConfig, as_json: bool) -> Iterator[None]:
    """Print the credit of a run whose payout is refused, before the command fails."""
    try:
        yield
    except InputError as error:
        from royalty.flows.credit import PayoutRefused

        if isinstance(error, PayoutRefused):
            print_result(error.result, payout, as_json)
        raise


def print_result(result: CreditResult, payout: PayoutConfig, as_json: bool) -> None:
    """Print the table of credit and payouts, the time of each stage, and the paths of the report and the MLflow run."""
    from royalty.infra.pages.cells import rank_text  # with pandas, which takes time to import
    from royalty.infra.pages.terminal import console, print_run, print_table, print_timing
    from royalty.tasks.pay.headline import headline

    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    columns = ("Contributor", "Rank", "Images", "Credit", "Interval", "Share", payout.currency)
    cells = [
        (
            row["contributor"],
            rank_text(row["rank_best"], row["rank_worst"]),
            str(row["items"]),
            f"{row['credit']:+.3f}",
            f"{row['ci_low']:+.2f} to {row['ci_high']:+.2f}",
            "none" if row["share"] is None else f"{row['share']:.1%}",
            row["amount"] or "none",
        )
        for row in result.rows
    ]
    print_table(columns, cells, whole=range(1, len(columns)))
    console.print(str(headline(result.rows)), markup=False)
    _print_outcome(result, payout)
    busy = sum(timing.busy for timing in result.timings)
    print_timing([timing.as_row() for timing in result.timings], busy, time.perf_counter() - STARTED)
    for note in result.notes:
        console.print(note, markup=False)
    console.print(f"Coalitions  {result.measured} measured, {result.reused} reused")
    console.print(f"Report      {result.folder}/report.html", soft_wrap=True)
    print_run(result.mlflow_run)


def _print_outcome(result: CreditResult, payout: PayoutConfig) -> None:
    """Print whether the division is paid or proposed, and what posts it."""
    from royalty.infra.pages.terminal import console

    pool = payout.formatted(payout.minor_units)
    if result.refusal:
        console.print(f"No payout   {result.refusal}", markup=False)
    elif result.statement is not None:
        console.print(f"Paid        {pool}, statement {result.statement}")
    else:
        console.print(f"Proposed    {pool}; nothing is posted. To pay it: royalty payout --credit {result.name}")


def _interrupt(number: int, frame: Any) -> None:
    from royalty.infra.processes.workers import stop_all

    stop_all()
    sys.stderr.write("\nroyalty: interrupted; finished work is kept, and the same command resumes from there\n")
    raise KeyboardInterrupt
