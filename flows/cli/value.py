"""The command `royalty value`: values of single images."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from royalty.flows.cli.command import AsJson, ConfigFile, Name, SourceOf, working


def value(
    method: Annotated[str, typer.Argument(help="Method: gmvaluator, lava, sava or knn-shapley.")],
    train: SourceOf = None,
    val: SourceOf = None,
    generated: SourceOf = None,
    out: Annotated[Path | None, typer.Option(help="File to write the values to: .parquet or .csv.")] = None,
    config: ConfigFile = None,
    name: Name = None,
    unseen_label: Annotated[
        str | None, typer.Option(help="Treatment of training labels that the validation set lacks: error or worst.")
    ] = None,
    incremental: Annotated[
        bool,
        typer.Option(
            "--incremental", help="For sava: reuse the last valuation of this name, and value only new items."
        ),
    ] = False,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="For lava: CSV file with the columns first and second, IDs or file names of training items whose "
            "values are compared without the effect of epsilon."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Value every training item by a clean validation set, or by the generated images that it contributes to."""
    if method == "gmvaluator":
        _refuse_options(
            method, {"--val": val, "--unseen-label": unseen_label, "--incremental": incremental, "--pairs": pairs}
        )
        _match(config, {"train": train, "generated": generated, "name": name}, out, as_json)
        return
    _refuse_options(method, {"--generated": generated})
    from royalty.flows.configuration import load_value_config

    options = {"method": method, "train": train, "val": val, "name": name, "unseen_label": unseen_label}
    configuration = load_value_config(config, options)
    with working(
        None,
        flow="royalty.flows.transport",
        works=_workers(method, pairs),
        show_progress=not as_json,
        configs=[configuration],
    ):
        from royalty.flows.transport import value

        result = value(configuration, out, incremental, pairs)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_notes, print_run, print_table

    if result.contributors:
        print_table(
            ("Contributor", "Items", "Value", "Mean"),
            [
                (row["contributor"], f"{row['items']:g}", f"{row['value']:+.4g}", f"{row['mean']:+.4g}")
                for row in result.contributors
            ],
        )
    console.print(f"{result.items} items valued by {method}; higher is better")
    print_notes(result.notes)
    _print_diagnostics(result.diagnostics)
    console.print(f"Table       {out or result.folder + '/values.parquet'}", soft_wrap=True)
    if result.val_table:
        console.print(f"Validation  {result.folder}/validation.parquet", soft_wrap=True)
    if result.batch_table:
        console.print(f"Batches     {result.folder}/batches.csv", soft_wrap=True)
    if result.perturbed_table:
        console.print(f"Changes     {result.folder}/perturbations.csv", soft_wrap=True)
    if result.pairs:
        console.print(
            f"Pairs       {result.folder}/pairs.csv: {result.pairs_compared} of {result.pairs} have a difference",
            soft_wrap=True,
        )
    print_run(result.mlflow_run)


def _workers(method: str, pairs: Path | None) -> list[str]:
    """Modules of the worker processes that value items by a method."""
    modules = ["planning_worker", "shares_worker"] if method == "sava" else ["valuing_worker"]
    modules += ["pairs_worker"] if pairs else []
    return [f"royalty.tasks.items.{module}" for module in ("embedding_worker", *modules)]


def _refuse_options(method: str, options: Mapping[str, Any]) -> None:
    from royalty.flows.configuration import ConfigError

    for option, value in options.items():
        if value:
            raise ConfigError(f"`{option}` does not apply to `royalty value {method}`; remove it")


def _match(config: Path | None, options: dict[str, Any], out: Path | None, as_json: bool) -> None:
    from royalty.flows.configuration import load_gmvaluator_config

    configuration = load_gmvaluator_config(config, options)
    with working(
        None,
        flow="royalty.flows.gmvaluator",
        works=["royalty.tasks.items.embedding_worker", "royalty.tasks.items.gmvaluator_worker"],
        show_progress=not as_json,
        configs=[configuration],
    ):
        from royalty.flows.gmvaluator import gmvaluator

        result = gmvaluator(configuration, out)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_notes, print_run, print_table

    if result.contributors:
        print_table(("Contributor", "Value"), [(name, f"{value:.2f}") for name, value in result.contributors.items()])
    console.print(f"{result.items} items valued by {result.generated} generated images; higher is better")
    print_notes(result.notes)
    _print_diagnostics(result.diagnostics)
    if result.diagnostics["k"] < result.diagnostics["k_asked"]:
        console.print("There are fewer than k training items: all of them share each generated image")
    console.print(f"Table       {out or result.folder + '/values.parquet'}", soft_wrap=True)
    console.print(f"Behind      {result.folder}/contributions.parquet", soft_wrap=True)
    print_run(result.mlflow_run)


def _print_diagnostics(diagnostics: Mapping[str, Any]) -> None:
    from royalty.infra.pages.terminal import console

    for name, value in diagnostics.items():
        if isinstance(value, int | float | str):
            number = f"{value:.4g}" if isinstance(value, float) else value
            console.print(f"  {name.replace('_', ' ')}  {number}")
