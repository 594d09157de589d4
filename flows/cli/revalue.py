"""The command `royalty revalue`, whose exit code says whether anything changed."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from royalty.flows.cli.command import AsJson, ConfigFile, Data, Name, Preset, print_result, working
from royalty.tasks.credit.plan import WORKER

if TYPE_CHECKING:
    from royalty.flows.revalue import Revaluation

CHANGED = 10
"""Exit code where something changed, whether it was revalued or, by a dry run, not."""


def revalue(
    config: ConfigFile = None,
    preset: Preset = None,
    data: Data = None,
    name: Name = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what changed and what it will cost, and revalue nothing.")
    ] = False,
    summary: Annotated[Path | None, typer.Option(help="A file to write a summary to, as Markdown.")] = None,
    retrain_base: Annotated[
        bool, typer.Option("--retrain-base", help="Train base and pruned model anew, and so everything.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare images, settings and code with the last credited run; measure only what changed, and pay the difference.

    Exits 0 if nothing changed, 10 if something did and was revalued, and 1 if that failed. With --dry-run it exits 10
    if anything changed.
    """
    from royalty.flows.cli.configuration import ConfigError, load_config

    configuration = load_config(file=config, preset=preset, name=name, data=data)
    if summary is not None and not (
        summary.absolute().parent.is_dir() and os.access(summary.absolute().parent, os.W_OK)
    ):
        raise ConfigError(f"`--summary` names a file in a folder that can be written; got {summary}")
    try:
        with working(configuration.name, flow="royalty.flows.revalue", works=[WORKER], show_progress=not as_json):
            from royalty.flows.revalue import revalue

            found = revalue(configuration, retrain_base, dry_run)
    except Exception as failure:
        if summary is not None:
            from royalty.infra.pages.summary import failed

            summary.write_text(failed(configuration.name, str(failure)), encoding="utf-8")
        raise
    if summary is not None:
        summary.write_text(found.summary, encoding="utf-8")
    _print(found, as_json)
    if found.result is not None and not as_json:
        print_result(found.result, configuration.payout, as_json=False)
    if found.change.found:
        raise typer.Exit(CHANGED)


def _print(found: Revaluation, as_json: bool) -> None:
    if as_json:
        result = {"rows": found.rows} if found.result is None else asdict(found.result)
        moved = None if found.moved is None else [asdict(row) for row in found.moved]
        said = {"found": found.change.found, **asdict(found.change)}
        sys.stdout.write(json.dumps({"change": said, "moved": moved, **result}) + "\n")
        return
    from royalty.infra.pages.terminal import console

    change = found.change
    if not change.found:
        console.print(f"Nothing changed since the last credited run, of {change.since}.")
    for sentence, about in change.lines():
        console.print(sentence + (f": {', '.join(about)}" if about else ""), markup=False)
    if change.found:
        console.print(f"Cost        {change.cost}")
    for kept in change.kept:
        console.print(f"Kept, though other code would train it now: {kept}; --retrain-base trains it anew")
