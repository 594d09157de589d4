"""Plant corruptions, look for them, and publish the tables and curves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.progress import announce
from royalty.infra.processes.workers import Deferred
from royalty.infra.workspace import Workspace
from royalty.models.base.choices import CorruptionName
from royalty.models.base.registry import modules_of
from royalty.models.judging.draws import over_draws
from royalty.tasks.benchmarks.ablation import ablated_rows, ablation_plots
from royalty.tasks.benchmarks.detection_stages import (
    DETECT,
    DIGITS,
    SWEEP,
    Ablated,
    CheckInputs,
    CleanSides,
    CurveMeasured,
    Detected,
    DetectInputs,
    DigitsInputs,
    SweepInputs,
    Swept,
)
from royalty.tasks.benchmarks.distance_curve import correlation_of, curve_plot, curve_rows
from royalty.tasks.benchmarks.draws import interval, known, rows_over_draws, summary_of, summary_with_means
from royalty.tasks.config.detection import DetectionConfig, ValidationSweep
from royalty.tasks.stages.publishing import Contents, Published, PublishInputs, PublishOutputs, PublishStage, publish
from royalty.tasks.stages.running import call_in_worker, run_in_worker
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.benchmarks import detection_worker, digits_worker, validation_worker
else:
    detection_worker = Deferred("royalty.tasks.benchmarks.detection_worker")
    digits_worker = Deferred("royalty.tasks.benchmarks.digits_worker")
    validation_worker = Deferred("royalty.tasks.benchmarks.validation_worker")

WRITE_DETECTION = PublishStage("write-detection", PublishInputs, PublishOutputs)


@task(name="read digits", cache_policy=NO_CACHE)
def read_digits() -> CleanSides:
    """Store scikit-learn's digits as training and validation items; returns their digests."""
    digits = run_in_worker(DIGITS, DigitsInputs(), digits_worker.read_digits, title="Read digits", total=1).outputs
    return CleanSides(digits.train.items, digits.val.items)


@task(name="check corruptions", cache_policy=NO_CACHE)
def check_corruptions(config: DetectionConfig, sides: CleanSides) -> None:
    """Check, before any method looks for one, that every corruption can be planted in these images."""
    inputs = CheckInputs(config.corruptions, config.settings, sides)
    call_in_worker(detection_worker.check, inputs, "", title="Check corruptions", total=len(config.corruptions))


@task(name="detect planted items", cache_policy=NO_CACHE)
def detect(corruption: CorruptionName, draw: int, config: DetectionConfig, sides: CleanSides) -> Detected:
    """Detect one corruption by every method, and measure the accuracy without the items of lowest value."""
    inputs = DetectInputs(corruption, config.settings, sides, draw)
    detected = run_in_worker(
        DETECT,
        inputs,
        detection_worker.detect,
        title=f"{corruption}, draw {draw + 1}",
        total=len(config.methods) + 1,
        also=modules_of(config.encoding.entries),
    )
    # Shown at once, so that a later corruption that fails does not hide it.
    rates = ", ".join(f"{row['method']} {row['auroc']:.2f}" for row in detected.outputs.rows)
    announce(f"{corruption}, draw {draw + 1} of {config.draws}: AUROC {rates}")
    return detected


@task(name="check validation sets", cache_policy=NO_CACHE)
def check_sweep(config: DetectionConfig, validation: ValidationSweep, sides: CleanSides) -> None:
    """Check, before any method looks for a corruption, that every validation set can be drawn."""
    places = product(config.corruptions, range(config.draws))
    inputs = [SweepInputs(DetectInputs(name, config.settings, sides, draw), validation) for name, draw in places]
    call_in_worker(validation_worker.check, inputs, "", title="Check validation sets", total=len(inputs))


@task(name="detect by other validation sets", cache_policy=NO_CACHE)
def sweep(
    corruption: CorruptionName, draw: int, config: DetectionConfig, validation: ValidationSweep, sides: CleanSides
) -> Swept:
    """Detect one corruption by every method and validation set."""
    return run_in_worker(
        SWEEP,
        SweepInputs(DetectInputs(corruption, config.settings, sides, draw), validation),
        validation_worker.sweep,
        title=f"{corruption}, draw {draw + 1}, by validation",
        total=len(validation.sets) + 1,
        also=modules_of(config.encoding.entries),
    )


@task(name="write detection", cache_policy=NO_CACHE)
def write_detection(
    config: DetectionConfig,
    detected: Sequence[Detected],
    swept: Sequence[Swept] = (),
    measured: Sequence[CurveMeasured] = (),
    ablated: Sequence[Ablated] = (),
) -> Published:
    """Publish the tables, and plots of each corruption."""
    rows, by_validation, by_amount = rows_of(detected), swept_rows(swept), curve_rows(measured)
    flagged, discovered, by_setting = flagged_rows(detected), discoveries_of(detected), ablated_rows(ablated)

    def make(_space: Workspace) -> Contents:
        return Contents(
            note=f"Detection of planted corruptions by values of items, evaluation {config.name!r}.",
            metrics={f"auroc.{row['corruption']}.{row['method']}": row["auroc"] for row in summary_of(rows)}
            | {f"{row['measure']}.{row['corruption']}.{row['fdr']:g}": row["mean"] for row in discovered},
            tables={
                "summary": pd.DataFrame(summary_of(rows)),
                "comparison": pd.DataFrame(comparison_of(rows)),
                "detection": pd.DataFrame(rows),
                "accuracy": pd.DataFrame(accuracy_of(detected)),
                "removal": pd.DataFrame(removal_of(detected)),
            }
            | ({"discoveries": pd.DataFrame(discovered), "flagged": pd.DataFrame(flagged)} if flagged else {})
            | ({"validation": pd.DataFrame(by_validation)} if by_validation else {})
            | ({"ablation": pd.DataFrame(by_setting)} if by_setting else {})
            | (
                {"distance": pd.DataFrame(by_amount), "correlation": pd.DataFrame(correlation_of(by_amount))}
                if by_amount
                else {}
            ),
            files=_plots(config.name, detected)
            | _discovery_plot(config.name, discovered)
            | _validation_plots(config.name, by_validation)
            | curve_plot(config.name, by_amount)
            | ablation_plots(config.name, by_setting),
        )

    sources = {"found": [stage.key for stage in detected]}
    params = {"name": config.name, **config.valuing.model_dump(), **config.encoding.model_dump()}
    if config.validation is not None:
        sources["by_validation"] = [stage.key for stage in swept]
        params |= {f"validation.{name}": numbers for name, numbers in config.validation.model_dump().items()}
    if config.distance is not None:
        sources["by_amount"] = [stage.key for stage in measured]
        params["distance.amounts"] = config.distance.amounts
    if config.ablation is not None:
        sources["by_setting"] = [stage.key for stage in ablated]
        params |= {f"ablation.{setting}": values for setting, values in config.ablation.model_dump().items() if values}
    return publish(WRITE_DETECTION, PublishInputs(config.name, config.name, sources, params), make)


def rows_of(detected: Sequence[Detected]) -> list[TableRow]:
    """The detection table: one row for each corruption and method."""
    return [row for stage in detected for row in stage.outputs.rows]


def swept_rows(swept: Sequence[Swept]) -> list[TableRow]:
    """The table by validation set: one row for each corruption, draw, validation set and method."""
    return [row for stage in swept for row in stage.outputs.rows]


def validation_summary_of(rows: Sequence[TableRow]) -> list[TableRow]:
    """AUROC over draws by validation set, for each corruption and for the mean of all (`all`)."""
    return summary_with_means(rows, "size", "flipped")


def comparison_of(rows: Sequence[TableRow], method: str = "detector") -> list[TableRow]:
    """AUROC of a method less that of each other one on the same draws, by corruption and as their mean (`all`)."""
    by_draw: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        by_draw.setdefault((row["corruption"], row.get("draw", 0)), {})[row["method"]] = row[
            "auroc"
        ]  # rows of earlier versions have none
    others = dict.fromkeys(row["method"] for row in rows if row["method"] != method)
    corruptions = dict.fromkeys(row["corruption"] for row in rows)
    compared: list[TableRow] = []
    for other in others:
        less = {
            place: rates[method] - rates[other] for place, rates in by_draw.items() if {method, other} <= rates.keys()
        }
        groups = {name: [less[place] for place in less if place[0] == name] for name in corruptions}
        draws = dict.fromkeys(draw for _, draw in less)
        groups["all"] = [float(np.mean([less[place] for place in less if place[1] == draw])) for draw in draws]
        for corruption, differences in groups.items():
            if differences:
                result = over_draws(differences)
                title = {"corruption": corruption, "method": method, "other": other, "draws": len(differences)}
                compared.append(title | interval("difference", result) | {"p": known(result.p)})
    return compared


def accuracy_of(detected: Sequence[Detected]) -> list[TableRow]:
    """The accuracy table: one row for each corruption, draw, method, fraction removed and classifier."""
    earlier: TableRow = {"classifier": "linear", "attack_success": None}  # which rows of earlier versions lack
    return [earlier | row for stage in detected for row in stage.outputs.accuracy]


def removal_of(detected: Sequence[Detected]) -> list[TableRow]:
    """The accuracy table over draws: one row for each `measure`, with its `mean` and its 95% interval."""
    columns, rows = ("classifier", "corruption", "method", "removed"), accuracy_of(detected)
    return [
        {"measure": measure} | row
        for measure in ("accuracy", "attack_success")
        for row in rows_over_draws(rows, columns, measure, "mean")
    ]


def flagged_rows(detected: Sequence[Detected]) -> list[TableRow]:
    """What the detector flags: one row for each corruption, draw and false discovery rate."""
    return [row for stage in detected for row in stage.outputs.flagged]


def discoveries_of(detected: Sequence[Detected]) -> list[TableRow]:
    """What the detector flags, over draws: one row for each `measure`, corruption, or `all`, and rate, with its `mean`
    and its 95% interval. `all` is the mean over corruptions, by draw."""
    drawn: dict[tuple[str, float], dict[int, TableRow]] = {}
    for row in flagged_rows(detected):
        drawn.setdefault((row["corruption"], row["fdr"]), {})[row["draw"]] = row
    corruptions, rates = (list(dict.fromkeys(names)) for names in zip(*drawn, strict=True)) if drawn else ([], [])
    discovered: list[TableRow] = []
    for measure, corruption, rate in product(("flagged", "fdp", "power"), (*corruptions, "all"), rates):
        averaged = corruptions if corruption == "all" else [corruption]
        by_draw: dict[int, list[float]] = {}
        for name in averaged:
            for draw, row in drawn.get((name, rate), {}).items():
                by_draw.setdefault(draw, []).append(row[measure])
        title = {"measure": measure, "corruption": corruption, "method": "detector", "fdr": rate, "draws": len(by_draw)}
        discovered.append(title | interval("mean", over_draws([float(np.mean(each)) for each in by_draw.values()])))
    return discovered


def _discovery_plot(name: str, discovered: Sequence[TableRow]) -> dict[str, bytes]:
    """A PNG by file name: the realised rate of false discoveries and the power, over the rate that was asked for."""
    from royalty.infra.pages.plots import discovery_curves

    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in discovered:
        panels.setdefault(row["measure"], {}).setdefault(row["corruption"], []).append((row["fdr"], row["mean"]))
    if not panels:
        return {}
    return {"discoveries.png": discovery_curves(f"{name}: detector", panels["fdp"], panels["power"])}


def _validation_plots(name: str, rows: Sequence[TableRow]) -> dict[str, bytes]:
    """PNGs by file name, one for each corruption and one for their mean: AUROC over the size of validation."""
    from royalty.infra.pages.plots import auroc_by_validation

    curves: dict[str, dict[float, dict[str, list[tuple[int, float]]]]] = {}
    for row in validation_summary_of(rows):
        # Without validation there are no labels to be wrong, so that the point belongs to every panel.
        shares = (row["flipped"],) if row["size"] else dict.fromkeys(other["flipped"] for other in rows)
        for share in shares:
            panel = curves.setdefault(row["corruption"], {}).setdefault(share, {})
            panel.setdefault(row["method"], []).append((row["size"], row["auroc"]))
    return {
        f"validation-{corruption}.png": auroc_by_validation(f"{name}: {corruption}", panels)
        for corruption, panels in curves.items()
    }


def _plots(name: str, detected: Sequence[Detected]) -> dict[str, bytes]:
    """PNGs by file name, one for each corruption: the mean over its draws."""
    from royalty.infra.pages.plots import detection_curves  # matplotlib takes a second to import

    drawn: dict[str, dict[str, list[list[float]]]] = {}
    for stage in detected:
        for method, rates in stage.outputs.curves.items():
            drawn.setdefault(stage.inputs.corruption, {}).setdefault(method, []).append(rates)
    return {
        f"{corruption}.png": detection_curves(
            f"{name}: {corruption}",
            # Draws of small sets may differ in length.
            {
                method: np.mean([rates[: min(map(len, curves))] for rates in curves], axis=0)
                for method, curves in methods.items()
            },
        )
        for corruption, methods in drawn.items()
    }
