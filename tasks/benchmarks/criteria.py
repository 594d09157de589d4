"""Judge values by the criteria of GMValuator's paper, and write what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace
from royalty.tasks.config.criteria import CriteriaConfig
from royalty.tasks.stages.publishing import publish
from royalty.tasks.stages.stage import in_worker, run_stage

JUDGING, TIMING, GENERATING = (
    "royalty.tasks.benchmarks.criteria_worker",
    "royalty.tasks.benchmarks.efficiency_worker",
    "royalty.tasks.benchmarks.generators_worker",
)

SCORES = {
    "identity": ("share",),
    "attributes": ("share",),
    "membership": ("p", "effect"),
    "outliers": ("percentile", "auroc"),
    "efficiency": ("alone", "together", "alone_ratio", "together_ratio"),
}
"""Columns of each criterion that MLflow keeps as metrics; the others say what a row is of."""


@task(cache_policy=NO_CACHE)
def trace(items: StageRecord, made: StageRecord, trained: StageRecord, config: CriteriaConfig) -> StageRecord:
    """Digest of the contributions by VAE-TracIn to images of a beta-VAE."""
    if config.tracin is None:
        raise ValueError("VAE-TracIn is left out of this evaluation")
    digests = {"items": items.outputs["items"], "made": made.outputs["items"], "models": trained.outputs["models"]}
    settled = {"tracin": config.tracin, "k": max(config.ks), "seed": config.seed}
    total = items.outputs["count"] * len(digests["models"])
    work = in_worker("VAE-TracIn", total, f"{JUDGING}.trace", *digests.values(), *settled.values())
    inputs = digests | settled | {"tracin": config.tracin.model_dump()}
    return run_stage("vae-tracin", inputs=inputs, modules=(JUDGING, GENERATING), compute=work)


@task(cache_policy=NO_CACHE)
def judge(criterion: str, judged: Sequence[Mapping[str, str]], **given: Any) -> StageRecord:
    """Rows of a criterion, by the function of its name in `royalty.tasks.benchmarks.criteria_worker`.

    Args:
        judged: what each method found of each generator's images.
        given: the other arguments of that function, in its order.
    """
    inputs = {"judged": list(judged), **given}
    work = in_worker(f"Judge {criterion}", len(judged), f"{JUDGING}.judge_{criterion}", *inputs.values())
    return run_stage(f"judge-{criterion}", inputs=inputs, modules=(JUDGING,), compute=work)


@task(cache_policy=NO_CACHE)
def time_methods(config: CriteriaConfig, items: StageRecord, made: StageRecord, trained: StageRecord) -> StageRecord:
    """Seconds per generated image of each method, side by side."""
    digests = items.outputs["items"], made.outputs["items"], trained.outputs["models"]
    total = len(config.rerank) + (2 if config.tracin else 0)
    work = in_worker("Time methods", total, f"{TIMING}.time_methods", config, *digests)
    settled = config.model_dump(mode="json", include={"rerank", "encoder", "quality", "temperature", "ks", "tracin"})
    inputs = {"config": settled, "seed": config.seed, "digests": list(digests)}
    return run_stage("time-methods", inputs=inputs, modules=(TIMING, JUDGING, GENERATING), compute=work)


@task(cache_policy=NO_CACHE)
def write_criterion(
    criterion: str,
    config: CriteriaConfig,
    found: StageRecord,
    judged: Sequence[Mapping[str, str]],
    items: StageRecord | None,
) -> StageRecord:
    """The folder with the tables and pictures of a criterion, and the MLflow run that holds them.

    Args:
        items: the training images, for sheets of generated images beside those behind them; None draws none.
    """
    rows = {name: found.outputs[name] for name in (criterion, "sensitivity", "calibration") if name in found.outputs}

    def pictures(space: Workspace) -> dict[str, bytes]:
        from royalty.infra.pages.plots import detection_curves, spread_of_values  # matplotlib takes a second to import
        from royalty.tasks.benchmarks.generators_worker import images_of
        from royalty.tasks.items.match_pictures import behind
        from royalty.tasks.stages.stored_items import load_contributions, load_items

        drawn = {}
        if items is not None:
            trained = images_of(load_items(space, items.outputs["items"]))
            for each in judged:
                made, table = load_items(space, each["made"]), load_contributions(space, each["contributions"])
                drawn[f"{criterion}-{each['generator']}-{each['method']}.png"] = behind(trained, images_of(made), table)
        if "curves" in found.outputs:
            curves = {name: np.array(rates) for name, rates in found.outputs["curves"].items()}
            drawn[f"{criterion}.png"] = detection_curves(f"{config.name}: images with noise", curves)
        if "values" in found.outputs:
            values = {name: np.array(own) for name, own in found.outputs["values"].items()}
            drawn[f"{criterion}.png"] = spread_of_values(f"{config.name}: halves of a class", values)
        return drawn

    record = publish(
        "write-criterion",
        f"{config.name}-{criterion}",
        inputs={"name": config.name, "criterion": criterion, "found": found.key, "judged": list(judged)},
        modules=(__name__, "royalty.tasks.items.match_pictures"),
        note=f"GMValuator's criterion {criterion}, evaluation {config.name!r}.",
        params=config.model_dump(mode="json"),
        metrics=_metrics(criterion, found.outputs[criterion]),
        tables={name: pd.DataFrame(table) for name, table in rows.items() if table},
        pictures=pictures,
    )
    return record.with_outputs(rows=rows[criterion], tables=rows)


def _metrics(criterion: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By generator, method, attributes and k, as far as a row has them."""
    named = [
        (".".join(str(row[key]) for key in ("generator", "method", "attributes", "k") if key in row), row)
        for row in rows
    ]
    metrics = {f"{column}.{name}": row[column] for name, row in named for column in SCORES[criterion] if column in row}
    return {
        "".join(letter if letter.isalnum() or letter in "._- /" else "_" for letter in name): value
        for name, value in metrics.items()
    }
