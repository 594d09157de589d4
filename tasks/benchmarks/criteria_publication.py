"""Publish the results of a criterion: tables and pictures, on disk and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from prefect.cache_policies import NO_CACHE

from royalty.infra.workspace import Workspace
from royalty.models.judging.sets import images_of
from royalty.tasks.benchmarks.contributor_stages import DistancesJudged, PoorJudged
from royalty.tasks.benchmarks.criterion_stages import (
    ALL,
    Criterion,
    CriterionName,
    CriterionOutputs,
    IdentityOutputs,
    Judged,
    MembershipOutputs,
    OutliersOutputs,
)
from royalty.tasks.benchmarks.subset_stages import SubsetsJudged
from royalty.tasks.config.criteria import CriteriaConfig
from royalty.tasks.items.match_pictures import contribution_sheet
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.items.stored_items import load_contributions, load_items
from royalty.tasks.stages.publishing import Contents, Published, PublishInputs, PublishOutputs, PublishStage, publish
from royalty.tasks.stages.stage import TableRow
from royalty.tasks.stages.task import task

More = PoorJudged | DistancesJudged | SubsetsJudged
"""Tables that a criterion has besides its own, by a stage of their own."""

WRITE_CRITERION = PublishStage("write-criterion", PublishInputs, PublishOutputs)

Spread = tuple[int, float, float]
"""Number of generated images, mean and standard deviation."""

SCORES: Mapping[str, tuple[str, ...]] = {
    "identity": ("share",),
    "attributes": ("share",),
    "membership": ("p", "effect"),
    "outliers": ("percentile", "auroc"),
    "causes": ("effect", "ahead", "p"),
    "subsets": ("lds", "low", "high"),
    "efficiency": ("alone", "together", "total", "alone_ratio", "together_ratio"),
}
"""Columns of tables that MLflow stores as metrics, by table; the other columns identify the row."""


@task(name="write criterion", cache_policy=NO_CACHE)
def write_criterion(
    criterion: CriterionName,
    config: CriteriaConfig,
    result: Criterion,
    judged: Sequence[Judged],
    items: ItemsOutputs | None,
    more: More | None = None,
) -> Published:
    """Publish the tables and pictures of a criterion.

    Args:
        items: training images, for sheets of generated images beside their most valuable items; None: no sheets.
        more: more tables of this criterion.
    """
    tables = result.outputs.tables | (more.outputs.tables if more else {})

    def make(space: Workspace) -> Contents:
        return Contents(
            note=f"GMValuator's criterion {criterion}, evaluation {config.name!r}.",
            metrics=_metrics(tables),
            tables={name: pd.DataFrame(rows) for name, rows in tables.items() if rows},
            files=_sheets(space, criterion, judged, items) | _plots(criterion, config.name, result.outputs),
        )

    sources = {"criterion": criterion, "found": result.key, "judged": [asdict(method) for method in judged]}
    sources |= {"more": more.key} if more else {}
    title, params = f"{config.name}-{criterion}", config.model_dump(mode="json")
    return publish(WRITE_CRITERION, PublishInputs(config.name, title, sources, params), make)


def _sheets(space: Workspace, criterion: str, judged: Sequence[Judged], items: ItemsOutputs | None) -> dict[str, bytes]:
    """PNGs by file name: generated images beside their most valuable items, by generator and method."""
    if items is None:
        return {}
    trained, sheets = images_of(load_items(space.artifacts, items.items)), {}
    for method in judged:
        made = images_of(load_items(space.artifacts, method.made))
        contributions = load_contributions(space.artifacts, method.contributions)
        sheets[f"{criterion}-{method.generator}-{method.method}.png"] = contribution_sheet(trained, made, contributions)
    return sheets


def _plots(criterion: str, name: str, outputs: CriterionOutputs) -> dict[str, bytes]:
    """PNGs by file name: fractions by numbers of images, detection curves, or values of both halves of a class."""
    # matplotlib takes a second to import
    from royalty.infra.pages.plots import detection_curves, shares_by_images, spread_of_values

    if isinstance(outputs, IdentityOutputs) and outputs.sensitivity:
        return {f"{criterion}.png": shares_by_images(_title(name, outputs), *_panels(outputs.sensitivity))}
    if isinstance(outputs, OutliersOutputs):
        curves = {method: np.array(rates) for method, rates in outputs.curves.items()}
        return {f"{criterion}.png": detection_curves(f"{name}: images with noise", curves)}
    if isinstance(outputs, MembershipOutputs):
        values = {half: np.array(worth) for half, worth in outputs.values.items()}
        return {f"{criterion}.png": spread_of_values(f"{name}: halves of a class", values)}
    return {}


def _title(name: str, outputs: IdentityOutputs) -> str:
    first = outputs.sensitivity[0]
    classes = "all classes" if first["label"] == ALL else f"class {first['label']}"
    return f"{name}: {classes}, k = {first['k']}"


def _panels(sensitivity: Sequence[TableRow]) -> tuple[dict[str, dict[str, list[Spread]]], dict[str, float]]:
    """By generator: the spread of each method over draws, and chance."""
    panels: dict[str, dict[str, list[Spread]]] = {}
    for row in sensitivity:
        spread = row["images"], row["mean"], row["deviation"]
        panels.setdefault(row["generator"], {}).setdefault(row["method"], []).append(spread)
    return panels, {row["generator"]: row["chance"] for row in sensitivity}


def _metrics(tables: Mapping[str, Sequence[TableRow]]) -> dict[str, float]:
    """Metrics, named by column, generator, method, attributes and k, in characters that MLflow allows."""
    named = [
        (".".join(str(row[key]) for key in ("generator", "method", "attributes", "k") if key in row), columns, row)
        for table, columns in SCORES.items()
        for row in tables.get(table, ())
    ]
    metrics = {f"{column}.{name}": row[column] for name, columns, row in named for column in columns if column in row}
    return {
        "".join(letter if letter.isalnum() or letter in "._- /" else "_" for letter in name): value
        for name, value in metrics.items()
    }
