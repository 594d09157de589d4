"""The command `royalty distance`: how far one set of items is from another."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from royalty.flows.cli.command import AsJson, ConfigFile, Name, working

WORKS = [f"royalty.tasks.items.{module}" for module in ("embedding_worker", "distance_worker")]

Images = "a folder of images with metadata.csv, a Parquet file, or an .npz file"


def distance(
    first: Annotated[Path | None, typer.Argument(help=f"The set whose parts are computed: {Images}.")] = None,
    second: Annotated[Path | None, typer.Argument(help="The set that it is compared with, in any of these.")] = None,
    config: ConfigFile = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Measure the distance of two sets of images by content and labels, and each contributor's part in it."""
    from royalty.flows.configuration import load_distance_config

    configuration = load_distance_config(config, {"first": first, "second": second, "name": name})
    with working(None, flow="royalty.flows.distance", works=WORKS, show_progress=not as_json, configs=[configuration]):
        from royalty.flows.distance import distance

        result = distance(configuration)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_notes, print_run, print_table

    console.print(f"Distance    {result.distance:.4g}, {result.share:.1%} of the mean distance of two items")
    if result.chance is not None:
        console.print(f"Chance      {result.chance:.4g} between sets that the same items are divided into at random")
    if result.diagnostics["labels"] != "compared":
        console.print("Labels      not compared, because a set has none")
    print_notes(result.notes)
    if result.contributors is not None:
        rows = [(row["contributor"], f"{row['items']:.1%}", f"{row['part']:+.4g}") for row in result.contributors]
        print_table(("Contributor", "Items", "Part"), rows, whole=range(1, 3))
    console.print(f"Parts       {result.folder}/parts.parquet", soft_wrap=True)
    print_run(result.mlflow_run)
