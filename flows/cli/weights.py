"""The commands `royalty weights`: pretrained models by third parties, downloaded only on request."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from royalty.flows.cli.command import AsJson

weights_app = typer.Typer(no_args_is_help=True, help="List and download weights of pretrained third-party models.")


@weights_app.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """List the weights with their use, licence and size, and whether they are present."""
    from royalty.infra.settings import settings
    from royalty.infra.stores.weights import WeightsStore

    rows = WeightsStore(settings().weights_root).rows()
    if as_json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows]) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_table

    cells = [
        (row.name, row.use, row.licence, f"{row.megabytes:.1f}" if row.megabytes else "", "yes" if row.present else "")
        for row in rows
    ]
    print_table(("Name", "Use", "Licence", "MB", "Here"), cells)
    console.print(f"Folder  {settings().weights_root}", soft_wrap=True)


@weights_app.command("fetch")
def fetch_weights(names: Annotated[list[str], typer.Argument(help="Names from `royalty weights list`.")]) -> None:
    """Download weights, or verify them if they are present. An interrupted download leaves no partial files."""
    from royalty.infra.pages.terminal import console, received
    from royalty.infra.settings import settings
    from royalty.infra.stores.weights import WeightsStore
    from royalty.infra.workspace import make_home

    if settings().weights is None:
        make_home(settings().root)
    store = WeightsStore(settings().weights_root)
    for name in names:
        with received(f"Fetching {name}") as advance:
            folder = store.fetch(name, progress=advance)
        console.print(f"{name}  {folder}", soft_wrap=True)
