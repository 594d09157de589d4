"""The `royalty` command line. Each command is a thin call of a flow.

Imports wait inside the commands: the configuration is checked before anything heavy is loaded, and
what is heavy loads while the server starts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli_criteria import add_criteria
from flows.command import AsJson, ConfigFile, Name, SourceOf, working

if TYPE_CHECKING:
    from flows.credit import CreditResult
    from flows.evaluate import Judgement
    from tasks.config import PayoutConfig
    from tasks.stopping import Verdict

STARTED = time.perf_counter()

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


evaluate_app = typer.Typer(no_args_is_help=True, help="Judge credit and values by what is known to be true.")
add_criteria(evaluate_app)
app.add_typer(evaluate_app, name="evaluate")

weights_app = typer.Typer(no_args_is_help=True, help="Weights of other people's models, which are fetched when asked.")
app.add_typer(weights_app, name="weights")


@app.callback()
def royalty() -> None:
    """Credit, value and pay the people whose images trained a generative model."""


Preset = Annotated[str | None, typer.Option(help="A configuration that comes with the package.")]
Presets = Annotated[
    list[str] | None, typer.Option("--preset", help="A configuration that comes with the package; several, in turn.")
]


@app.command()
def run(
    config: ConfigFile = None,
    preset: Preset = None,
    name: Name = None,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="Measure only a pilot of the coalitions, and say what to expect.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train, prune, measure coalitions; then credit, report and pay the contributors."""
    from flows.configuration import load_config

    configuration = load_config(file=config, preset=preset, name=name)
    with working(configuration.name, show_progress=not as_json):
        from flows import credit

        verdict = credit.forecast(configuration) if forecast else None
        result = None if forecast else credit.credit(configuration)
    if verdict is not None:
        _print_forecast(verdict, as_json)
    elif result is not None:
        _print_result(result, configuration.payout, as_json)


@app.command()
def revalue(
    config: ConfigFile = None,
    preset: Preset = None,
    name: Name = None,
    retrain_base: Annotated[
        bool, typer.Option("--retrain-base", help="Train base and pruned model anew, and so everything.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """After images changed: measure only the coalitions of contributors whose images did, and pay the difference."""
    from flows.configuration import load_config

    configuration = load_config(file=config, preset=preset, name=name)
    with working(None, show_progress=not as_json):
        from flows.credit import revalue

        result = revalue(configuration, retrain_base)
    _print_result(result, configuration.payout, as_json)


@evaluate_app.command()
def lds(config: ConfigFile = None, preset: Presets = None, name: Name = None, as_json: AsJson = False) -> None:
    """Rank correlation of credit with models retrained on held-out coalitions, beside the paper's baselines."""
    _evaluate("lds", config, preset, name, as_json)


@evaluate_app.command()
def counterfactual(
    config: ConfigFile = None, preset: Presets = None, name: Name = None, as_json: AsJson = False
) -> None:
    """Change of the property when the contributors of highest credit are left out, or alone are kept."""
    _evaluate("counterfactual", config, preset, name, as_json)


@evaluate_app.command()
def detection(
    train: SourceOf = None,
    val: SourceOf = None,
    config: ConfigFile = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Plant corruptions in a clean image set, the embedded digits unless given, and look for them by value."""
    from flows.configuration import load_detection_config

    configuration = load_detection_config(config, {"train": train, "val": val, "name": name})
    with working(None, show_progress=not as_json):
        from flows.transport import detection

        result = detection(configuration)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from infra.terminal import console, print_table

    cells: dict[str, list[str]] = {}
    for row in result.rows:
        cells.setdefault(row["method"], [row["method"]]).append(f"{row['auroc']:.2f}")
    heads = [name.replace("-", "\n") for name in configuration.corruptions]
    print_table(("AUROC", *heads), list(map(tuple, cells.values())))
    console.print(f"Tables      {result.folder}/detection.csv, accuracy.csv", soft_wrap=True)
    console.print(f"MLflow run  {result.mlflow_run}")


def _evaluate(kind: str, config: Path | None, presets: list[str] | None, name: str | None, as_json: bool) -> None:
    from flows.configuration import load_config

    wanted: list[str | None] = list(presets) if presets else [None]
    named = name if len(wanted) == 1 else None  # each of several keeps its own
    configurations = [load_config(file=config, preset=preset, name=named) for preset in wanted]
    judged = []
    with working(None, show_progress=not as_json):
        from flows import evaluate

        for configuration in configurations:
            judged.append(getattr(evaluate, kind)(configuration))
            if not as_json:
                _print_judgement(kind, judged[-1])
    if as_json:
        sys.stdout.write(json.dumps([asdict(one) for one in judged]) + "\n")


@app.command()
def value(
    method: Annotated[str, typer.Argument(help="gmvaluator, lava, sava or knn-shapley.")],
    train: SourceOf = None,
    val: SourceOf = None,
    generated: SourceOf = None,
    out: Annotated[Path | None, typer.Option(help="Parquet file to write the values to.")] = None,
    config: ConfigFile = None,
    name: Name = None,
    unseen_label: Annotated[
        str | None, typer.Option(help="A training label that validation lacks: error, or worst.")
    ] = None,
    incremental: Annotated[
        bool,
        typer.Option("--incremental", help="By sava: keep the last valuation of this name, and value what is new."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Value every training item: by a clean validation set, or by the generated images that it stands behind."""
    if method == "gmvaluator":
        _refuse_options(method, {"--val": val, "--unseen-label": unseen_label, "--incremental": incremental})
        _match(config, {"train": train, "generated": generated, "name": name}, out, as_json)
        return
    _refuse_options(method, {"--generated": generated})
    from flows.configuration import load_value_config

    given = {"method": method, "train": train, "val": val, "name": name, "unseen_label": unseen_label}
    configuration = load_value_config(config, given)
    with working(None, show_progress=not as_json):
        from flows.transport import value

        result = value(configuration, out, incremental)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from infra.terminal import console

    console.print(f"{result.items} items valued by {method}; higher is better")
    _print_diagnostics(result.diagnostics)
    console.print(f"Table       {out or result.folder + '/values.parquet'}", soft_wrap=True)
    console.print(f"MLflow run  {result.mlflow_run}")


def _refuse_options(method: str, given: Mapping[str, Any]) -> None:
    from flows.configuration import ConfigError

    for option, value in given.items():
        if value:
            raise ConfigError(f"`{option}` says nothing to `royalty value {method}`; leave it out")


def _match(config: Path | None, given: dict[str, Any], out: Path | None, as_json: bool) -> None:
    from flows.configuration import load_gmvaluator_config

    configuration = load_gmvaluator_config(config, given)
    with working(None, show_progress=not as_json):
        from flows.gmvaluator import gmvaluator

        result = gmvaluator(configuration, out)
    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    from infra.terminal import console, print_table

    if result.contributors:
        print_table(("Contributor", "Value"), [(name, f"{value:.2f}") for name, value in result.contributors.items()])
    console.print(f"{result.items} items valued by {result.generated} generated images; higher is better")
    _print_diagnostics(result.diagnostics)
    console.print(f"Table       {out or result.folder + '/values.parquet'}", soft_wrap=True)
    console.print(f"Behind      {result.folder}/contributions.parquet", soft_wrap=True)
    console.print(f"MLflow run  {result.mlflow_run}")


def _print_diagnostics(diagnostics: Mapping[str, Any]) -> None:
    from infra.terminal import console

    for key, found in diagnostics.items():
        if isinstance(found, int | float | str):
            shown = f"{found:.4g}" if isinstance(found, float) else found
            console.print(f"  {key.replace('_', ' ')}  {shown}")


@weights_app.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """What each is for, its licence and size, and whether it is here."""
    from infra.settings import settings
    from infra.weights import WeightsStore

    rows = WeightsStore(settings().weights_root).rows()
    if as_json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows]) + "\n")
        return
    from infra.terminal import console, print_table

    cells = [
        (row.name, row.use, row.licence, f"{row.megabytes:.1f}" if row.megabytes else "", "yes" if row.present else "")
        for row in rows
    ]
    print_table(("Name", "Use", "Licence", "MB", "Here"), cells)
    console.print(f"Folder  {settings().weights_root}", soft_wrap=True)


@weights_app.command("fetch")
def fetch_weights(names: Annotated[list[str], typer.Argument(help="As `royalty weights list` names them.")]) -> None:
    """Download weights, whole or not at all; what is here is verified instead."""
    from infra.settings import settings
    from infra.terminal import console, received
    from infra.weights import WeightsStore

    store = WeightsStore(settings().weights_root)
    for name in names:
        with received(f"Fetching {name}") as advance:
            folder = store.fetch(name, progress=advance)
        console.print(f"{name}  {folder}", soft_wrap=True)


@app.command()
def ui() -> None:
    """Serve MLflow's and Prefect's pages, over the state that runs left, until Ctrl-C."""
    from infra.session import serve_pages

    serve_pages()


def main() -> None:
    """Entry point: what a user can mend is one message; anything else is a traceback."""
    try:
        app()
    except Exception as error:
        if not _mendable(error):
            raise
        sys.stderr.write(f"royalty: {error}\n")
        sys.exit(1)


def _print_result(result: CreditResult, payout: PayoutConfig, as_json: bool) -> None:
    from infra.terminal import console, print_table, print_timing

    if as_json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        return
    columns = ("Contributor", "Images", "Credit", "Interval", "Share", f"Payout ({payout.currency})")
    cells = [
        (
            row["contributor"],
            str(row["items"]),
            f"{row['credit']:+.3f}",
            f"{row['ci_low']:+.2f} to {row['ci_high']:+.2f}",
            f"{row['share']:.1%}",
            row["amount"],
        )
        for row in result.rows
    ]
    print_table(columns, cells)
    busy = sum(timing.busy for timing in result.timings)
    print_timing([timing.as_row() for timing in result.timings], busy, time.perf_counter() - STARTED)
    for note in result.notes:
        console.print(note)
    console.print(f"Coalitions  {result.measured} measured, {result.reused} reused")
    console.print(f"Report      {result.folder}/report.html", soft_wrap=True)
    console.print(f"MLflow run  {result.mlflow_run}")


def _print_judgement(kind: str, judged: Judgement) -> None:
    from infra.terminal import console, print_table

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


def _print_forecast(verdict: Verdict, as_json: bool) -> None:
    from infra.terminal import console

    expected = {
        "coalitions": verdict.expected,
        "hours": verdict.expected_hours,
        "interval_width": verdict.expected_width,
        "target_within_budget": verdict.certainty.needed is not None and verdict.certainty.needed <= verdict.budget,
    }
    if as_json:
        sys.stdout.write(json.dumps({**asdict(verdict), "expected": expected}) + "\n")
        return
    now = verdict.certainty
    console.print(f"Pilot     {now.coalitions} coalitions, {verdict.seconds:.1f} s of a worker each")
    console.print(f"Now       intervals {now.width:.2f} wide on average")
    console.print(f"          {now.error}")
    console.print(f"Expected  {verdict.expected} coalitions of at most {verdict.budget}")
    console.print(f"          {verdict.expected_hours:.2f} hours more on {verdict.workers} worker(s)")
    console.print(f"          intervals {verdict.expected_width:.2f} wide on average")
    if now.needed is not None and now.needed > verdict.budget:
        console.print(f"The target takes about {now.needed} coalitions; raise `coalitions.count` or relax it.")


def _mendable(error: Exception) -> bool:
    from sqlalchemy.exc import DatabaseError

    from flows.configuration import ConfigError
    from infra.artifacts import StoreError
    from infra.ledger import LedgerConflict
    from infra.processes import ProcessFailed
    from infra.runstore import ConfigConflict
    from models.errors import InputError

    return isinstance(
        error, ConfigError | DatabaseError | StoreError | LedgerConflict | ProcessFailed | ConfigConflict | InputError
    )
