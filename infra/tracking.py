"""The MLflow adapter: runs, tables, datasets and models, each in one round trip where MLflow allows it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag, ViewType
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from infra.settings import Settings

KEY_TAG = "royalty.key"


class Tracking:
    """Writes to one MLflow store. Nothing here is ever read to decide what to compute."""

    RUNS = "royalty"
    COALITIONS = "royalty-coalitions"  # in one experiment with their parents, a page of the UI would part them

    def __init__(self, uri: str, artifacts: Path | None) -> None:
        """`artifacts` is where a local store keeps files; a server decides that itself."""
        self.client = MlflowClient(tracking_uri=uri)
        self.artifacts = artifacts

    def prepare(self) -> None:
        """Make the store ready to be written."""
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
        """Create a run and return its id; half-written runs of the same key are deleted first."""
        owner = self._experiment(experiment)
        if parent is None:
            for run in self.client.search_runs([owner], f"tags.`{KEY_TAG}` = '{key}' and status = 'RUNNING'"):
                self._discard(run.info.run_id)
        own = {KEY_TAG: key, MLFLOW_RUN_NOTE: note} | ({MLFLOW_PARENT_RUN_ID: parent} if parent else {})
        return str(self.client.create_run(owner, tags={**own, **tags}, run_name=name).info.run_id)

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

    def dataset(self, run: str, name: str, digest: str, profile: Mapping[str, Any]) -> None:
        """Log a training set as an input; MLflow holds 36 characters of a digest, a tag the whole."""
        entity = Dataset(name, digest[:32], "local", json.dumps({"digest": digest}), profile=json.dumps(dict(profile)))
        self.client.log_inputs(run, [DatasetInput(entity, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])])
        self.client.log_batch(run, tags=[RunTag(f"royalty.dataset.{name}", digest)])

    def model(self, run: str, name: str, payload: bytes, digest: str, metrics: Mapping[str, float]) -> str:
        """Log a model's safetensors payload as an output of a run; returns the model id."""
        experiment = self.client.get_run(run).info.experiment_id
        model = self.client.create_logged_model(
            experiment, name, source_run_id=run, tags={"royalty.digest": digest}, model_type="diffusion"
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

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = str(self.artifacts) if self.artifacts else None
        return str(self.client.create_experiment(name, artifact_location=location))


@lru_cache
def open_tracking(settings: Settings) -> Tracking:
    """The store of these settings; a local one is built if it is not there."""
    if settings.mlflow_uri:
        return Tracking(settings.tracking_uri, None)
    folder = settings.root / "mlflow"
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    _build_database(folder / "mlflow.db")
    return Tracking(settings.tracking_uri, folder / "artifacts")


def _build_database(path: Path) -> None:
    """Build a database beside its place and link it there whole.

    MLflow refuses one whose migrations were cut short, as by a kill, and two runs may build it at once.
    """
    if path.exists():
        return
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as folder:
        built = Path(folder, path.name)
        MlflowClient(tracking_uri=f"sqlite:///{built}")
        with suppress(FileExistsError):
            path.hardlink_to(built)
