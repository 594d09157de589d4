"""The command `royalty detect`: find faulty training items."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from royalty.flows.cli.command import AsJson, ConfigFile, Name, SourceOf, working

WORKS = [f"royalty.tasks.items.{module}" for module in ("embedding_worker", "detecting_worker")]


def detect(
    train: SourceOf = None,
    val: Annotated[
        Path | None,
        typer.Option(help="Clean items, as for `--train`; without them, training items are checked by each other."),
    ] = None,
    fdr: Annotated[
        float | None, typer.Option(help="Largest expected fraction of clean items among the flagged ones.")
    ] = None,
    trim: Annotated[
        float | None,
        typer.Option(help="Without `--val`: fraction of each label that may be faulty, which judges no other items."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write the table to: .parquet or .csv.")] = None,
    config: ConfigFile = None,
    name: Name = None,
    unseen_label: Annotated[
        str | None, typer.Option(help="Treatment of training labels that the validation set lacks: error or worst.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find training items with wrong labels or strange features, and say why."""
    from royalty.flows.configuration import load_detect_config

    options = {"train": train, "val": val, "fdr": fdr, "trim": trim, "name": name, "unseen_label": unseen_label}
    configuration = load_detect_config(config, options)
    with working(None, flow="royalty.flows.detect", works=WORKS, show_progress=not as_json, configs=[configuration]):
        from royalty.flows.detect import detect

        result = detect(configuration, out)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_notes, print_run

    flagged = f"{result.flagged} of {result.items} items flagged; " + (
        f"at most {result.fdr:.0%} of them clean on average"
        if result.calibrated
        else f"the false discovery rate of {result.fdr:.0%} is only an estimate"
    )
    console.print(
        flagged
        if result.flagged
        else f"None of {result.items} items is flagged at a false discovery rate of {result.fdr:.0%}. "
        f"More {'clean' if result.calibrated else 'training'} items allow more discoveries; the table has all items, "
        "and the lowest scores are the first to look at"
    )
    for kind, weight in result.diagnostics["weights"].items():
        console.print(f"  weight of {kind.replace('_', ' ')}  {weight:.2f}")
    print_notes(result.notes)
    console.print(f"Review      {result.folder}/review.csv", soft_wrap=True)
    console.print(f"Page        {result.folder}/detected.html", soft_wrap=True)
    console.print(f"Table       {out or result.folder + '/detected.parquet'}", soft_wrap=True)
    print_run(result.mlflow_run)
