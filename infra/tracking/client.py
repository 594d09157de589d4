"""The MLflow adapter: runs, tables, datasets and models, each in one round trip where MLflow allows it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from royalty.infra.settings import Settings
from royalty.infra.tracking.records import DatasetRecord, FinishedRun

KEY_TAG = "royalty.key"


WRITERS = 4
"""Threads that log runs to a server. A database accepts one writer; several threads would wait and double the work."""


DESCRIPTION = (
    "A generator whose contributors are credited. `candidate` is the latest base model; `credited` the latest whose "
    "credit passed all gates and was paid."
)


class Tracking:
    """Writes to one MLflow store. No computation depends on what it reads from there."""

    RUNS = "royalty"
    COALITIONS = "royalty-coalitions"  # in the experiment of their parents, pages of the UI would separate them
    DESCRIBED: ClassVar = {
        RUNS: "Runs of Royalty, a child each stage: credit of contributors, payouts, and values of single images.",
        COALITIONS: "A run each coalition of contributors: the model trained on their images alone, and its utility. "
        "Sort by `utility` or `size`; `mlflow.parentRunId` is the run that it belongs to.",
    }

    def __init__(self, uri: str, artifacts: Path | None) -> None:
        """`artifacts` is the folder of a local store's files; None for a server, which has its own."""
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.uri = uri
        self.artifacts = artifacts
        self._experiments: dict[str, str] = {}

    def prepare(self) -> None:
        """Create the experiments."""
        for experiment in (self.RUNS, self.COALITIONS):
            self._experiment(experiment)

    def start(
        self,
        experiment: str,
        name: str,
        *,
        key: str,
        parent: str | None = None,
        note: str = "",
        tags: Mapping[str, str] = {},
    ) -> str:
        """Create a run and return its ID; unfinished runs of the same key are deleted first."""
        owner = self._experiment(experiment)
        if parent is None:
            for run in self.client.search_runs([owner], f"tags.`{KEY_TAG}` = '{key}' and status = 'RUNNING'"):
                self._discard(run.info.run_id)
        base_tags = {KEY_TAG: key, MLFLOW_RUN_NOTE: note} | ({MLFLOW_PARENT_RUN_ID: parent} if parent else {})
        return str(self.client.create_run(owner, tags={**base_tags, **tags}, run_name=name).info.run_id)

    def record(self, experiment: str, run: FinishedRun, parent: str) -> str:
        """Log a finished run in four round trips, and return its ID. Several threads may call this at once."""
        tags = {KEY_TAG: run.key, MLFLOW_RUN_NOTE: run.note, MLFLOW_PARENT_RUN_ID: parent}
        tags |= {f"royalty.dataset.{run.dataset.name}": run.dataset.digest}
        owner = self._experiment(experiment)
        identity = str(self.client.create_run(owner, tags=tags, run_name=run.name).info.run_id)
        self.client.log_inputs(identity, [_input(run.dataset)])
        self.log(identity, params=run.params, metrics=run.metrics)
        self.finish(identity)
        return identity

    def record_all(
        self, experiment: str, runs: Sequence[FinishedRun], parent: str, done: Callable[[int], None]
    ) -> dict[str, str]:
        """Log runs, several at once; return their IDs by key, and call `done` for each finished one."""
        self._experiment(experiment)  # before the threads, each of which would create it
        ids: dict[str, str] = {}
        with ThreadPoolExecutor(WRITERS if self.uri.startswith("http") else 1) as pool:
            waiting = {pool.submit(self.record, experiment, run, parent): run.key for run in runs}
            for future in as_completed(waiting):
                ids[waiting[future]] = future.result()
                done(1)
        return ids

    def register(self, name: str, model: str, run: str, note: str, aliases: Sequence[str]) -> str:
        """Register a logged model as a new version with these aliases; return the version's number."""
        with suppress(MlflowException):  # it exists already
            self.client.create_registered_model(
                name, description=f"Generators whose contributors run {name!r} credits."
            )
        # For a database, MLflow resolves a `models:/` address in the store of the environment, which may differ.
        local = not self.uri.startswith("http")
        source = self.client.get_logged_model(model).artifact_location if local else f"models:/{model}"
        registered = self.client.create_model_version(name, source, run_id=run, description=note, model_id=model)
        for alias in aliases:
            self.client.set_registered_model_alias(name, alias, registered.version)
        return str(registered.version)

    def log(self, run: str, *, params: Mapping[str, Any] = {}, metrics: Mapping[str, float] = {}) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(
            run,
            metrics=[Metric(name, float(value), now, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in params.items()],
        )

    def curve(self, run: str, name: str, points: list[list[float]]) -> None:
        """Log a metric over steps."""
        now = int(time.time() * 1000)
        self.client.log_batch(run, metrics=[Metric(name, value, now, int(step)) for step, value in points])

    def note(self, run: str, note: str) -> None:
        """Set the description of a run, in Markdown."""
        self.client.set_tag(run, MLFLOW_RUN_NOTE, note)

    def dataset(self, run: str, dataset: DatasetRecord) -> None:
        """Log a dataset as an input."""
        self.client.log_inputs(run, [_input(dataset)])
        self.client.log_batch(run, tags=[RunTag(f"royalty.dataset.{dataset.name}", dataset.digest)])

    def model(self, run: str, name: str, payload: bytes, digest: str, metrics: Mapping[str, float]) -> str:
        """Log a model's safetensors payload as an output of a run; return the model ID."""
        experiment = self.client.get_run(run).info.experiment_id
        model = self.client.create_logged_model(
            experiment, name, source_run_id=run, tags={"royalty.digest": digest}, model_type="generator"
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "model.safetensors").write_bytes(payload)
            self.client.log_model_artifacts(model.model_id, folder)
        self.client.finalize_logged_model(model.model_id, "READY")
        self.client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
        now = int(time.time() * 1000)
        values = [Metric(key, float(value), now, 0, model_id=model.model_id) for key, value in metrics.items()]
        self.client.log_batch(run, metrics=values)
        return str(model.model_id)

    def table(self, run: str, table: pd.DataFrame, file: str) -> None:
        self.client.log_table(run, table, file)

    def files(self, run: str, files: Mapping[str, bytes]) -> None:
        """Log files by name, which may include folders, in one call."""
        with tempfile.TemporaryDirectory() as folder:
            for name, payload in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(payload)
            self.client.log_artifacts(run, folder)

    def file(self, run: str, name: str, payload: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(payload)
            self.client.log_artifact(run, str(path))

    def finish(self, run: str) -> None:
        self.client.set_terminated(run)

    def _discard(self, run: str) -> None:
        children = self.client.search_runs(
            [self._experiment(self.RUNS), self._experiment(self.COALITIONS)],
            f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run}'",
            run_view_type=ViewType.ACTIVE_ONLY,
        )
        for child in children:
            self.client.delete_run(child.info.run_id)
        self.client.delete_run(run)

    def experiments(self) -> dict[str, str]:
        """IDs of the experiments of runs and of coalitions, which are part of the pages' addresses."""
        return {"runs": self._experiment(self.RUNS), "coalitions": self._experiment(self.COALITIONS)}

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                location = str(self.artifacts) if self.artifacts else None
                tags = {MLFLOW_RUN_NOTE: self.DESCRIBED[name]}
                self._experiments[name] = str(self.client.create_experiment(name, location, tags))
            else:
                self._experiments[name] = str(experiment.experiment_id)
        return self._experiments[name]


@lru_cache
def open_tracking(settings: Settings) -> Tracking:
    """Open the store of these settings; a local one is created if it is missing."""
    if settings.mlflow_uri:
        return Tracking(settings.tracking_uri, None)
    folder = settings.root / "mlflow"
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    _build_database(folder / "mlflow.db")
    return Tracking(settings.tracking_uri, folder / "artifacts")


def _build_database(path: Path) -> None:
    """Create a database in a temporary folder, and link it to its path when it is complete.

    MLflow rejects a database whose migrations were interrupted, and two runs may create it at the same time.
    """
    if path.exists():
        return
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as folder:
        built = Path(folder, path.name)
        MlflowClient(tracking_uri=f"sqlite:///{built}")
        with suppress(FileExistsError):
            path.hardlink_to(built)


def _input(dataset: DatasetRecord) -> DatasetInput:
    source = json.dumps({"digest": dataset.digest})
    entity = Dataset(dataset.name, dataset.digest[:32], "local", source, profile=json.dumps(dict(dataset.profile)))
    return DatasetInput(entity, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])
