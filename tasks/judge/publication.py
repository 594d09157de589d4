"""Write what an evaluation found: tables and a plot, on disk and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.pages.cells import csv_bytes
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.stages.stage import run_stage


@task(cache_policy=NO_CACHE)
def write_lds(config: CreditConfig, scored: StageRecord) -> StageRecord:
    """The folder with `lds.csv` and `lds.png`, and the MLflow run that holds them."""
    rows = scored.outputs["rows"]
    shown = sorted({row["alpha"] for row in rows}, key=lambda alpha: abs(alpha - 0.5))[0]
    curves: dict[str, list[tuple[float, float, float, float]]] = {}
    others = {}
    for row in rows:
        if row["alpha"] != shown:
            continue
        if row["method"].startswith("Shapley, "):
            point = (row["seconds"], row["lds"], row["low"], row["high"])
            curves.setdefault(row["method"].removeprefix("Shapley, "), []).append(point)
        else:
            others[row["method"]] = row["lds"]
    best = max(others.items(), key=lambda item: item[1]) if others else None

    def plot() -> bytes:
        from royalty.infra.pages.plots import score_against_compute  # matplotlib takes a second to import

        return score_against_compute(f"{config.name}: LDS at alpha {shown:g} against compute", curves, best)

    return _write(config, "lds", rows, {"lds.png": plot()})


@task(cache_policy=NO_CACHE)
def write_counterfactual(config: CreditConfig, rows: Sequence[Mapping[str, Any]]) -> StageRecord:
    """The folder with `counterfactual.csv`, and the MLflow run that holds it."""
    return _write(config, "counterfactual", rows, {})


def _write(
    config: CreditConfig, kind: str, rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, bytes]
) -> StageRecord:
    table = pd.DataFrame(list(rows))
    files = {f"{kind}.csv": csv_bytes(table), **pictures}
    inputs = {"name": config.name, "kind": kind, "rows": digest_of(list(rows))}

    def compute(_space: Workspace) -> dict[str, Any]:
        from royalty.infra.tracking.client import open_tracking  # MLflow takes seconds to import

        tracking = open_tracking(settings())
        note = f"Evaluation ({kind}) of credit, run {config.name!r}, by models retrained on coalitions."
        run = tracking.start(tracking.RUNS, f"{config.name}-{kind}", key=digest_of(inputs), note=note)
        settled = {key: str(value) for key, value in config.evaluation.model_dump().items()}
        tracking.log(run, params={"name": config.name, **settled})
        tracking.table(run, table, f"{kind}.json")
        for file, payload in files.items():
            tracking.file(run, file, payload)
        tracking.finish(run)
        return {"run": run}

    record = run_stage(f"write-{kind}", inputs=inputs, modules=(__name__, "royalty.infra.pages.plots"), compute=compute)
    folder = open_workspace(settings()).root / "runs" / config.name
    for file, payload in files.items():
        write_whole(folder / file, payload)
    return record.with_outputs(folder=str(folder))
