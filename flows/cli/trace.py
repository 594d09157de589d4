"""The command `royalty trace`: the lineage of a payout, model or image."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from royalty.flows.cli.command import AsJson


def trace(
    identifier: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Name of a run, or ID of a payout statement, credit table, model, MLflow run or item."
        ),
    ],
    html: Annotated[Path | None, typer.Option(help="Also write the trace to this file as an HTML page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the lineage from a payout to the images behind it, and verify all hashes; exit with 1 if any differs."""
    from royalty.flows import api

    lineage = api.trace(identifier, html)
    if as_json:
        sys.stdout.write(json.dumps({**asdict(lineage), "matches": lineage.matches}) + "\n")
    else:
        from royalty.infra.pages.terminal import print_trace

        print_trace(lineage)
    if not lineage.matches:
        raise typer.Exit(1)
