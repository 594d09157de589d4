"""The command `royalty trace`: where something came from."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from royalty.flows.cli.command import AsJson


def trace(
    asked: Annotated[
        str, typer.Argument(metavar="ID", help="A run name, or the id of a payout, credit table, model, run or item.")
    ],
    html: Annotated[Path | None, typer.Option(help="Write it to this file as well, as a page.")] = None,
    as_json: AsJson = False,
) -> None:
    """The whole way from a payout to images, every artifact hashed again; exit code 1 if something changed."""
    from royalty.flows import api

    found = api.trace(asked, html)
    if as_json:
        sys.stdout.write(json.dumps({**asdict(found), "matches": found.matches}) + "\n")
    else:
        from royalty.infra.pages.terminal import print_trace

        print_trace(found)
    if not found.matches:
        raise typer.Exit(1)
