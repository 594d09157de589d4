"""The commands `royalty evaluate`: test credit and values against a known ground truth."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from royalty.flows.cli.command import AsJson, ConfigFile, Data, Name, Preset, SourceOf, working
from royalty.flows.cli.criteria import add_criteria
from royalty.tasks.credit.plan import WORKER

if TYPE_CHECKING:
    from royalty.flows.detection import DetectionResult
    from royalty.flows.evaluate import Judgement
    from royalty.tasks.judge.stages import JudgementKind
    from royalty.tasks.stages.stage import TableRow

evaluate_app = typer.Typer(no_args_is_help=True, help="Test credit and values against a known ground truth.")
add_criteria(evaluate_app)

Presets = Annotated[
    list[str] | None,
    typer.Option("--preset", help="Name of a configuration in the package; repeat the option to evaluate several."),
]


@evaluate_app.command()
def lds(
    config: ConfigFile = None, preset: Presets = None, data: Data = None, name: Name = None, as_json: AsJson = False
) -> None:
    """Compute the LDS of Shapley credit, games with pairs, baselines and controls, by retrained models.

    The linear datamodeling score (LDS) compares predictions for held-out coalitions with the property of models that
    are retrained in full on them. Each seed has coalitions of its own, and methods are compared in paired tests.
    """
    _evaluate("lds", config, preset, data, name, as_json)


@evaluate_app.command()
def counterfactual(
    config: ConfigFile = None, preset: Presets = None, data: Data = None, name: Name = None, as_json: AsJson = False
) -> None:
    """Measure how the property changes when the contributors of highest credit are removed, or only they are kept."""
    _evaluate("counterfactual", config, preset, data, name, as_json)


@evaluate_app.command()
def gallery(
    config: ConfigFile = None, preset: Preset = None, data: Data = None, name: Name = None, as_json: AsJson = False
) -> None:
    """Show models without the contributors of highest credit, and of each contributor alone, from the same noise."""
    from royalty.flows.configuration import load_config

    configuration = load_config(file=config, preset=preset, name=name, data=data)
    with working(
        None, flow="royalty.flows.gallery", works=[WORKER], show_progress=not as_json, configs=[configuration]
    ):
        from royalty.flows.gallery import gallery as show

        result = show(configuration)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_run, print_table

    properties = list(dict.fromkeys(row["property"] for row in result.rows))
    cells: dict[str, list[str]] = {}
    for row in result.rows:
        half = "" if row["low"] is None else f" ±{(row['high'] - row['low']) / 2:.2f}"
        cells.setdefault(row["models"], []).append(f"{row['value']:+.2f}{half}")
    print_table(("Models", *properties), [(title, *values) for title, values in cells.items()])
    console.print(f"Page        {result.folder}/gallery.html", soft_wrap=True)
    console.print(f"Report      {result.report}", soft_wrap=True)
    print_run(result.mlflow_run)


@evaluate_app.command()
def detection(
    train: SourceOf = None,
    val: SourceOf = None,
    config: ConfigFile = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Corrupt images of a clean set (default: scikit-learn's digits), and test whether low values find them."""
    from royalty.flows.configuration import load_detection_config

    configuration = load_detection_config(config, {"train": train, "val": val, "name": name})
    with working(
        None,
        flow="royalty.flows.detection",
        works=[
            f"royalty.tasks.benchmarks.{name}_worker"
            for name in ("detection", "validation", "distance_curve", "ablation")
        ],
        show_progress=not as_json,
        configs=[configuration],
    ):
        from royalty.flows.detection import DetectionFailed, detection

        try:
            _print_detection(detection(configuration), as_json)
        except DetectionFailed as error:
            _print_detection(error.result, as_json)
            raise


@evaluate_app.command()
def memorization(
    train: SourceOf = None,
    generated: SourceOf = None,
    held_out: SourceOf = None,
    config: ConfigFile = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Test whether generated images are copies of training images, by images that were not trained on."""
    from royalty.flows.configuration import load_memorization_config

    options = {"train": train, "generated": generated, "held_out": held_out, "name": name}
    configuration = load_memorization_config(config, options)
    with working(
        None,
        flow="royalty.flows.memorization",
        works=["royalty.tasks.items.embedding_worker", "royalty.tasks.items.memorization_worker"],
        show_progress=not as_json,
        configs=[configuration],
    ):
        from royalty.flows.memorization import memorization

        result = memorization(configuration)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_run

    console.print(
        f"{result.flagged} of {result.generated} generated images are copies of training images, at a false discovery "
        f"rate of {result.rate:.0%}"
    )
    console.print(
        f"P-values are by {result.compared} images{'' if configuration.held_out else ' that were trained on'}, so that "
        f"the smallest is {result.smallest:.2g}"
    )
    console.print(f"Table       {result.folder}/memorization.parquet", soft_wrap=True)
    console.print(f"Pictures    {result.folder}/closest.png", soft_wrap=True)
    print_run(result.mlflow_run)


def _print_detection(result: DetectionResult, as_json: bool) -> None:
    """Print what was measured: AUROC of each method with its interval, and the detector's lead over each other one."""
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from royalty.infra.pages.terminal import console, print_run, print_table

    corruptions = list(dict.fromkeys(row["corruption"] for row in result.summary))
    heads = _heads(corruptions)
    rates = {(row["method"], row["corruption"]): _with_half(row, "auroc", "") for row in result.summary}
    leads = {(row["other"], row["corruption"]): _with_half(row, "difference", "+") for row in result.comparison}
    for title, cells, columns in (
        ("AUROC", rates, corruptions),
        ("Detector's lead over", leads, [*corruptions, "all"]),
    ):
        methods = dict.fromkeys(method for method, _ in cells)
        rows = [(method, *(cells.get((method, column), "") for column in columns)) for method in methods]
        if rows:
            print_table((title, *heads, "all")[: len(columns) + 1], rows)
    for table in (
        *_discovery_tables(result.discoveries),
        *_removal_tables(result.removal),
        *_validation_tables(result.validation),
        *_ablation_tables(result.ablation),
        *_correlation_tables(result.correlation),
    ):
        print_table(*table)
    tables = (
        "summary.csv, comparison.csv, detection.csv"
        + (", discoveries.csv, flagged.csv" if result.discoveries else "")
        + ", removal.csv, accuracy.csv"
        + (", validation.csv" if result.validation else "")
        + (", distance.csv, correlation.csv" if result.distance else "")
        + (", ablation.csv" if result.ablation else "")
    )
    console.print(f"Tables      {result.folder}/{tables}", soft_wrap=True)
    print_run(result.mlflow_run)


def _with_half(row: TableRow, name: str, sign: str, digits: int = 3) -> str:
    """A mean, and half the width of its interval with one digit less, if there is one."""
    half = "" if row["low"] is None else f"\n±{(row['high'] - row['low']) / 2:.{digits - 1}f}"
    return f"{row[name]:{sign}.{digits}f}{half}"


def _evaluate(
    kind: JudgementKind,
    config: Path | None,
    presets: list[str] | None,
    data: Path | None,
    name: str | None,
    as_json: bool,
) -> None:
    from royalty.flows.configuration import load_config

    selected: list[str | None] = list(presets) if presets else [None]
    run_name = name if len(selected) == 1 else None  # several presets keep their own names
    configurations = [load_config(file=config, preset=preset, name=run_name, data=data) for preset in selected]
    judgements = []
    with working(
        None, flow="royalty.flows.evaluate", works=[WORKER], show_progress=not as_json, configs=configurations
    ):
        from royalty.flows.evaluate import JUDGEMENTS

        for configuration in configurations:
            judgements.append(JUDGEMENTS[kind](configuration))
            if not as_json:
                _print_judgement(kind, judgements[-1])
    if as_json:
        sys.stdout.write(json.dumps([asdict(judgement) for judgement in judgements]) + "\n")


def _print_judgement(kind: JudgementKind, judgement: Judgement) -> None:
    from royalty.infra.pages.terminal import console, print_run, print_table

    if kind == "lds":
        heads, cells = _score_table(judgement.rows)
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
            for row in judgement.rows
        ]
    console.print(f"{judgement.name}: {judgement.retrained} of {judgement.planned} held-out models retrained")
    print_table(heads, cells)
    console.print(f"Table       {judgement.folder}/{kind}.csv", soft_wrap=True)
    print_run(judgement.mlflow_run)
    if judgement.leads:
        print_table(*_lead_table(judgement.leads))
        console.print(f"Comparisons {judgement.folder}/lds-leads.csv", soft_wrap=True)


Cells = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Heads and rows of a printed table."""


def _discovery_tables(rows: list[TableRow]) -> Iterator[Cells]:
    """What the detector flags by the false discovery rate asked for: a table for each measure."""
    titles = {"flagged": "Flagged, items", "fdp": "Flagged,\nnot planted", "power": "Planted, flagged"}
    for measure in dict.fromkeys(row["measure"] for row in rows):
        shown = [row for row in rows if row["measure"] == measure]
        corruptions = dict.fromkeys(row["corruption"] for row in shown)
        digits = 1 if measure == "flagged" else 3  # a number of items, and fractions
        cells = {(row["fdr"], row["corruption"]): _with_half(row, "mean", "", digits) for row in shown}
        rates = dict.fromkeys(row["fdr"] for row in shown)
        yield (
            (titles[measure], *_heads(corruptions)),
            [(f"at a rate of {rate:g}", *(cells.get((rate, each), "") for each in corruptions)) for rate in rates],
        )


def _removal_tables(rows: list[TableRow]) -> Iterator[Cells]:
    """Accuracy and attack success without the items of lowest value: a table each, of the network if one is trained."""
    classifier = "network" if any(row["classifier"] == "network" for row in rows) else "linear"
    for measure in dict.fromkeys(row["measure"] for row in rows):
        shown = [row for row in rows if (row["measure"], row["classifier"]) == (measure, classifier)]
        corruptions = dict.fromkeys(row["corruption"] for row in shown)
        # With all items it is the same for every method.
        cells = {
            (row["method"] if row["removed"] else "none", row["removed"], row["corruption"]): _with_half(
                row, "mean", ""
            )
            for row in shown
        }
        places = sorted({place[:2] for place in cells}, key=lambda place: (place[1], place[0]))
        yield (
            (f"{measure.replace('_', ' ').capitalize()},\n{classifier}", "removed", *_heads(corruptions)),
            [
                (name, f"{part:.0%}", *(cells.get((name, part, each), "") for each in corruptions))
                for name, part in places
            ],
        )


def _heads(names: Iterable[str]) -> list[str]:
    return [name.replace("-", "\n") for name in names]


def _validation_tables(summary: list[TableRow]) -> Iterator[Cells]:
    """Mean AUROC over all corruptions by method and size of validation, a table for each fraction of wrong labels."""
    rows = [row for row in summary if row["corruption"] == "all"]
    methods = dict.fromkeys(row["method"] for row in rows)
    for flipped in dict.fromkeys(row["flipped"] for row in rows):
        # Without validation there are no labels to be wrong, so that its column belongs to every table.
        shown = [row for row in rows if row["flipped"] == flipped or not row["size"]]
        sizes = sorted({row["size"] for row in shown})
        rates = {(row["method"], row["size"]): _with_half(row, "auroc", "") for row in shown}
        title = "AUROC by number of\nvalidation images" + (f",\n{flipped:.0%} mislabelled" if flipped else "")
        yield (
            (title, *(f"{size:,}" for size in sizes)),
            [(method, *(rates.get((method, size), "") for size in sizes)) for method in methods],
        )


def _ablation_tables(summary: list[TableRow]) -> Iterator[Cells]:
    """Mean AUROC over all corruptions by method and value, a table for each setting."""
    for setting in dict.fromkeys(row["setting"] for row in summary):
        rows = [row for row in summary if row["corruption"] == "all" and row["setting"] == setting]
        values, methods = (list(dict.fromkeys(row[column] for row in rows)) for column in ("value", "method"))
        rates = {(row["method"], row["value"]): _with_half(row, "auroc", "") for row in rows}
        yield (
            (f"AUROC by\n{setting}", *_heads(values)),
            [(method, *(rates.get((method, value), "") for value in values)) for method in methods],
        )


def _correlation_tables(rows: list[TableRow]) -> Iterator[Cells]:
    """Rank correlation of the distance from validation and of accuracy."""
    corruptions = list(dict.fromkeys(row["corruption"] for row in rows))
    cells = {(row["classifier"], row["corruption"]): _with_half(row, "correlation", "+") for row in rows}
    if cells:
        yield (
            ("Distance and accuracy,\nrank correlation", *_heads(corruptions)),
            [
                (classifier, *(cells.get((classifier, each), "") for each in corruptions))
                for classifier in dict.fromkeys(row["classifier"] for row in rows)
            ],
        )


def _score_table(rows: list[TableRow]) -> Cells:
    """LDS of each method by size, and at the size nearest a half among coalitions that planted contributors do not
    separate.
    """
    alphas = sorted({row["alpha"] for row in rows})
    middle = min(alphas, key=lambda alpha: abs(alpha - 0.5))
    columns = [("all", alpha) for alpha in alphas]
    columns += [(among, middle) for among in dict.fromkeys(row["among"] for row in rows) if among != "all"]
    final: dict[str, dict[tuple[str, float], TableRow]] = {}
    for row in rows:  # the last row of a method and column has the most coalitions
        final.setdefault(row["method"], {})[row["among"], row["alpha"]] = row
    totals = {name: sum(row["lds"] for key, row in found.items() if key[0] == "all") for name, found in final.items()}
    cells = []
    for method, found in sorted(final.items(), key=lambda item: -totals[item[0]]):
        first = next(iter(found.values()))
        shown = [_interval(found[column]) if column in found else "" for column in columns]
        cells.append((method, str(first["trained"] or ""), f"{first['seconds']:.0f}", *shown))
    heads = [f"LDS at {alpha:g}" if among == "all" else f"{among},\nat {alpha:g}" for among, alpha in columns]
    return ("Method", "Trained", "Seconds", *heads), cells


def _interval(row: TableRow) -> str:
    return f"{row['lds']:+.2f} ±{(row['high'] - row['low']) / 2:.2f}"


def _lead_table(leads: list[TableRow]) -> Cells:
    """Leads of the first method over each other one, among all coalitions; a star if it is surely ahead or behind."""
    ours, alphas = leads[0]["method"], sorted({row["alpha"] for row in leads})
    found = {(row["other"], row["alpha"]): row for row in leads if row["method"] == ours and row["among"] == "all"}
    cells = [
        (other, *(_lead(found[other, alpha]) if (other, alpha) in found else "" for alpha in alphas))
        for other in dict.fromkeys(other for other, _ in found)
    ]
    return (f"Lead of {ours}, over", *(f"at {alpha:g}" for alpha in alphas)), cells


def _lead(row: TableRow) -> str:
    sure = "*" if row["low"] > 0 or row["high"] < 0 else ""
    return f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]{sure}"
