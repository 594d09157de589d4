"""Write what an evaluation found where people look: a folder of tables and pictures, and an MLflow run with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from royalty.infra.pages.cells import csv_bytes
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.stores.keys import code_commit, digest_of
from royalty.infra.stores.runstore import StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.tasks.stages.stage import run_stage

SHOWN_ROWS = 100_000
"""Values in MLflow's own table at most, which it keeps as JSON; longer ones are in the file beside it alone."""


def publish(
    stage: str,
    name: str,
    *,
    inputs: Mapping[str, Any],
    modules: tuple[str, ...],
    note: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tables: Mapping[str, pd.DataFrame],
    pictures: Callable[[Workspace], Mapping[str, bytes]],
) -> StageRecord:
    """Once for the same inputs; the folder, named after the run, is written each time.

    Args:
        inputs: name of the run, and the keys of the stages that found what is written.
        modules: that make the pictures.
        tables: by name, each a CSV file.
        pictures: makes PNGs, by file name, when they are not there yet.

    Returns:
        A record with `folder`, and `run`, the id of the MLflow run.
    """

    def compute(space: Workspace) -> dict[str, Any]:
        from royalty.infra.tracking.client import open_tracking  # MLflow takes seconds to import

        files = {f"{table}.csv": csv_bytes(rows) for table, rows in tables.items()}
        files |= pictures(space)
        tracking = open_tracking(settings())
        tags = {"git.commit": code_commit()}
        run = tracking.start(tracking.RUNS, name, key=digest_of(inputs), note=note, tags=tags)
        tracking.log(run, params=params, metrics=metrics)
        for table, rows in tables.items():
            tracking.table(run, rows, f"{table}.json")
        for file, payload in files.items():
            tracking.file(run, file, payload)
        tracking.finish(run)
        return {"run": run, "files": {file: space.artifacts.put(payload) for file, payload in files.items()}}

    record = run_stage(stage, inputs=inputs, modules=(__name__, *modules), compute=compute, one_by_one=True)
    space = open_workspace(settings())
    folder = space.root / "runs" / inputs["name"]
    for file, digest in record.outputs["files"].items():
        write_whole(folder / file, space.artifacts.get(digest))
    return record.with_outputs(folder=str(folder))


def numbers(diagnostics: Mapping[str, Any]) -> dict[str, float]:
    """The diagnostics that are single numbers, for MLflow's metrics."""
    return {name: float(value) for name, value in diagnostics.items() if isinstance(value, int | float)}
