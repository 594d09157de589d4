"""The commands `royalty evaluate`: what judges credit and values by what is known to be true."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from royalty.flows.cli.command import AsJson, ConfigFile, Data, Name, SourceOf, working
from royalty.flows.cli.criteria import add_criteria
from royalty.tasks.credit.plan import WORKER

if TYPE_CHECKING:
    from royalty.flows.evaluate import Judgement
    from royalty.tasks.judge.stages import JudgementKind

evaluate_app = typer.Typer(no_args_is_help=True, help="Judge credit and values by what is known to be true.")
add_criteria(evaluate_app)

Presets = Annotated[
    list[str] | None, typer.Option("--preset", help="A configuration that comes with the package; several, in turn.")
]


@evaluate_app.command()
def lds(
    config: ConfigFile = None, preset: Presets = None, data: Data = None, name: Name = None, as_json: AsJson = False
) -> None:
    """Rank correlation of credit with models retrained on held-out coalitions, beside the paper's baselines."""
    _evaluate("lds", config, preset, data, name, as_json)


@evaluate_app.command()
def counterfactual(
    config: ConfigFile = None, preset: Presets = None, data: Data = None, name: Name = None, as_json: AsJson = False
) -> None:
    """Change of the property when the contributors of highest credit are left out, or alone are kept."""
    _evaluate("counterfactual", config, preset, data, name, as_json)


@evaluate_app.command()
def detection(
    train: SourceOf = None,
    val: SourceOf = None,
    config: ConfigFile = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Plant corruptions in a clean image set, the embedded digits unless given, and look for them by value."""
    from royalty.flows.cli.configuration import load_detection_config

    configuration = load_detection_config(config, {"train": train, "val": val, "name": name})
    with working(
        None,
        flow="royalty.flows.detection",
        works=["royalty.tasks.benchmarks.detection_worker"],
        show_progress=not as_json,
    ):
        from royalty.flows.detection import detection

        result = detection(configuration)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_table

    cells: dict[str, list[str]] = {}
    for row in result.rows:
        cells.setdefault(row["method"], [row["method"]]).append(f"{row['auroc']:.2f}")
    heads = [name.replace("-", "\n") for name in configuration.corruptions]
    print_table(("AUROC", *heads), list(map(tuple, cells.values())))
    console.print(f"Tables      {result.folder}/detection.csv, accuracy.csv", soft_wrap=True)
    console.print(f"MLflow run  {result.mlflow_run}")


def _evaluate(
    kind: JudgementKind,
    config: Path | None,
    presets: list[str] | None,
    data: Path | None,
    name: str | None,
    as_json: bool,
) -> None:
    from royalty.flows.cli.configuration import load_config

    wanted: list[str | None] = list(presets) if presets else [None]
    named = name if len(wanted) == 1 else None  # each of several keeps its own
    configurations = [load_config(file=config, preset=preset, name=named, data=data) for preset in wanted]
    judged = []
    with working(None, flow="royalty.flows.evaluate", works=[WORKER], show_progress=not as_json):
        from royalty.flows.evaluate import JUDGEMENTS

        for configuration in configurations:
            judged.append(JUDGEMENTS[kind](configuration))
            if not as_json:
                _print_judgement(kind, judged[-1])
    if as_json:
        sys.stdout.write(json.dumps([asdict(judgement) for judgement in judged]) + "\n")


def _print_judgement(kind: JudgementKind, judged: Judgement) -> None:
    from royalty.infra.pages.terminal import console, print_table

    if kind == "lds":
        alphas = sorted({row["alpha"] for row in judged.rows})
        best: dict[str, dict[float, dict[str, Any]]] = {}
        for row in judged.rows:  # of one method the last has the most coalitions
            best.setdefault(row["method"], {})[row["alpha"]] = row
        order = sorted(best.items(), key=lambda item: -sum(row["lds"] for row in item[1].values()))
        cells = [
            (
                method,
                str(rows[alphas[0]]["trained"] or ""),
                f"{rows[alphas[0]]['seconds']:.0f}",
                *(f"{rows[a]['lds']:+.2f} ±{(rows[a]['high'] - rows[a]['low']) / 2:.2f}" for a in alphas),
            )
            for method, rows in order
        ]
        heads = ("Method", "Trained", "Seconds", *(f"LDS at {alpha:g}" for alpha in alphas))
    else:
        heads = ("Method", "Done", "Change", "Range", "Seeds")
        cells = [
            (
                row["method"],
                row["done"],
                f"{row['change']:+.1%}",
                f"{row['low']:+.1%} to {row['high']:+.1%}",
                str(row["seeds"]),
            )
            for row in judged.rows
        ]
    console.print(f"{judged.name}: judged by {judged.retrained} of {judged.planned} held-out models")
    print_table(heads, cells)
    console.print(f"Table       {judged.folder}/{kind}.csv", soft_wrap=True)
    console.print(f"MLflow run  {judged.mlflow_run}")
