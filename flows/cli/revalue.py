"""The command `royalty revalue`; its exit code shows whether anything changed."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
from royalty.tasks.credit.plan import WORKER

if TYPE_CHECKING:
    from royalty.flows.revalue import Revaluation

CHANGED = 10
"""Exit code when something changed, with or without --dry-run."""


def revalue(
    config: ConfigFile = None,
    preset: Preset = None,
    data: Data = None,
    name: Name = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what changed and the cost of revaluing it, without revaluing.")
    ] = False,
    summary: Annotated[Path | None, typer.Option(help="File to write a Markdown summary to.")] = None,
    retrain_base: Annotated[
        bool,
        typer.Option("--retrain-base", help="Retrain the base and pruned models, and therefore every coalition."),
    ] = False,
    pay: Pay = False,
    accept_uncertainty: AcceptUncertainty = False,
    as_json: AsJson = False,
) -> None:
    """Compare images, settings and code with the last credited run, measure what changed, and propose a payout.

    Exits with 0 if nothing changed, 10 if a change was revalued, and 1 if revaluing failed. With --dry-run, exits with
    10 if anything changed.
    """
    from royalty.flows.configuration import ConfigError, load_config

    configuration = load_config(file=config, preset=preset, name=name, data=data, pay=pay)
    if summary is not None and not (
        summary.absolute().parent.is_dir() and os.access(summary.absolute().parent, os.W_OK)
    ):
        raise ConfigError(f"`--summary` must name a file in a writable folder, got {summary}; choose another path")
    try:
        with (
            showing_refused(configuration.payout, as_json),
            working(
                configuration.name,
                flow="royalty.flows.revalue",
                works=[WORKER],
                show_progress=not as_json,
                configs=[configuration],
            ),
        ):
            from royalty.flows.revalue import revalue

            revaluation = revalue(configuration, retrain_base, dry_run, accept_uncertainty)
    except Exception as failure:
        if summary is not None:
            from royalty.flows.mistakes import is_refusal
            from royalty.infra.pages.summary import failed

            text = failed(configuration.name, str(failure), refused=is_refusal(failure))
            summary.write_text(text, encoding="utf-8")
        raise
    if summary is not None:
        summary.write_text(revaluation.summary, encoding="utf-8")
    _print(revaluation, as_json)
    if revaluation.result is not None and not as_json:
        print_result(revaluation.result, configuration.payout, as_json=False)
    if revaluation.change.found:
        raise typer.Exit(CHANGED)


def _print(revaluation: Revaluation, as_json: bool) -> None:
    if as_json:
        result = {"rows": revaluation.rows} if revaluation.result is None else asdict(revaluation.result)
        moved = None if revaluation.moved is None else [asdict(row) for row in revaluation.moved]
        change_fields = {"found": revaluation.change.found, **asdict(revaluation.change)}
        sys.stdout.write(json.dumps({"change": change_fields, "moved": moved, **result}) + "\n")
        return
    from royalty.infra.pages.summary import movement
    from royalty.infra.pages.terminal import console

    change = revaluation.change
    if not change.found:
        console.print(f"Nothing changed since the last credited run ({change.since}).")
    for sentence, about in change.lines():
        console.print(sentence + (f": {', '.join(about)}" if about else ""), markup=False)
    if change.found:
        console.print(f"Cost        {change.cost}")
    for model in change.kept:
        console.print(f"Kept, although its code changed: {model}; use --retrain-base to retrain it")
    if revaluation.moved is not None:
        console.print(f"Revalued    {movement(revaluation.moved)}")
