"""Publish results as a folder of tables and pictures, and as an MLflow run with the same files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from royalty.infra.pages.cells import csv_bytes
from royalty.infra.processes.workers import module_of
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import write_whole
from royalty.infra.stores.keys import code_commit, digest_of
from royalty.infra.tracking.records import DatasetRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.stage import Finished, Stage, as_json

SHOWN_ROWS = 100_000
"""Most rows of a table that MLflow shows, which stores it as JSON. Longer tables are published as files only."""


@dataclass(frozen=True)
class PublishInputs:
    """Results to publish, identified by the stages that computed them.

    Attributes:
        name: name of the run and of its folder.
        title: name of the MLflow run.
        sources: keys of those stages and digests of artifacts, by role.
        params: settings that MLflow shows.
    """

    name: str
    title: str
    sources: Mapping[str, Any]
    params: Mapping[str, Any]


@dataclass(frozen=True)
class PublishOutputs:
    """Id of the MLflow run, and digests of the files by name."""

    run: str
    files: dict[str, str]


PublishStage = Stage[PublishInputs, PublishOutputs]


@dataclass(frozen=True)
class Contents:
    """Contents to publish.

    Attributes:
        note: description of the MLflow run, in Markdown.
        metrics: metrics of the MLflow run.
        tables: tables by name; each is written as CSV and shown in MLflow.
        shown: tables by name that MLflow shows and `files` holds in another format.
        files: other files, by name.
        datasets, tags: datasets and tags of the MLflow run; a tag with the commit is added.
    """

    note: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    shown: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    datasets: Iterable[DatasetRecord] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """Where results were published.

    Attributes:
        folder: path of the folder.
    """

    stage: Finished[PublishInputs, PublishOutputs]
    folder: str

    @property
    def run(self) -> str:
        """Id of the MLflow run."""
        return self.stage.outputs.run


def publish(
    stage: PublishStage, inputs: PublishInputs, make: Callable[[Workspace], Contents], *, also: Iterable[str] = ()
) -> Published:
    """Publish results once for the same inputs; the folder is written on every call.

    Args:
        make: loads and draws the contents; called only if they are not published yet. The key covers its module.
        also: see `royalty.tasks.stages.running.run_in_worker`.
    """

    def compute(space: Workspace) -> PublishOutputs:
        contents = make(space)
        tables = {f"{name}.csv": csv_bytes(table) for name, table in contents.tables.items()}
        files = {**tables, **contents.files}
        run = _log(inputs, contents, files)
        return PublishOutputs(run, {name: space.artifacts.put(payload) for name, payload in files.items()})

    record = run_here(stage, inputs, compute, also=(module_of(make), *also), one_by_one=True)
    space = open_workspace(settings())
    folder = space.root / "runs" / inputs.name
    for name, digest in record.outputs.files.items():
        write_whole(folder / name, space.artifacts.get(digest))
    return Published(record, str(folder))


def _log(inputs: PublishInputs, contents: Contents, files: Mapping[str, bytes]) -> str:
    """Log an MLflow run; returns its id."""
    from royalty.infra.tracking.client import open_tracking  # MLflow takes seconds to import

    tracking = open_tracking(settings())
    tags = {"git.commit": code_commit(), **contents.tags}
    key = digest_of(as_json(inputs))
    run = tracking.start(tracking.RUNS, inputs.title, key=key, note=contents.note, tags=tags)
    tracking.log(run, params=inputs.params, metrics=contents.metrics)
    for dataset in contents.datasets:
        tracking.dataset(run, dataset)
    for name, table in {**contents.tables, **contents.shown}.items():
        if len(table) <= SHOWN_ROWS:
            tracking.table(run, table, f"{name}.json")
    tracking.files(run, files)
    tracking.finish(run)
    return run


def numbers(diagnostics: Mapping[str, Any]) -> dict[str, float]:
    """Select the diagnostics that are single numbers, for MLflow's metrics."""
    return {name: float(value) for name, value in diagnostics.items() if isinstance(value, int | float)}
