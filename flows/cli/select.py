"""The command `royalty select`: the training images that stand for clean ones, within a budget."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from royalty.flows.cli.command import AsJson, ConfigFile, Name, SourceOf, working

WORKS = [f"royalty.tasks.items.{module}" for module in ("embedding_worker", "selecting_worker")]


def select(
    train: SourceOf = None,
    val: SourceOf = None,
    budget: Annotated[int | None, typer.Option(help="Number of images to select.")] = None,
    method: Annotated[
        str | None, typer.Option(help="transport (default), or, to compare with: value (highest LAVA values), random.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write the selection to: .parquet or .csv.")] = None,
    config: ConfigFile = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Select the training images that best stand for a clean validation set, without spending the budget on copies."""
    from royalty.flows.configuration import load_select_config

    options = {"train": train, "val": val, "budget": budget, "method": method, "name": name}
    configuration = load_select_config(config, options)
    with working(None, flow="royalty.flows.select", works=WORKS, show_progress=not as_json, configs=[configuration]):
        from royalty.flows.select import select

        result = select(configuration, out)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_notes, print_run, print_table

    if result.labels:
        print_table(("Label", "Selected"), [(label, str(count)) for label, count in sorted(result.labels.items())])
    console.print(f"{result.selected} of {result.items} items selected by {configuration.method}")
    print_notes(result.notes)
    distance, weighted = (result.diagnostics[name] for name in ("distance", "weighted_distance"))
    console.print(f"Distance    {distance:.4g} from validation by the best weights, {weighted:.4g} by the table's")
    if result.diagnostics["copies"]:
        console.print(f"Copies      {result.diagnostics['copies']} of the selected items are copies of other ones")
    console.print(f"Table       {out or result.folder + '/selected.parquet'}", soft_wrap=True)
    print_run(result.mlflow_run)
