"""The MLflow adapter: runs, tables, datasets and models, each in one round trip where MLflow allows it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModelInput, LoggedModelOutput, LoggedModelStatus, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE, MLFLOW_USER
from PIL import Image

from royalty.infra.settings import Settings
from royalty.infra.stores.private import keep_private, umask
from royalty.infra.stores.templates import template
from royalty.infra.tracking.entities import curve_of, dataset_input, metrics_of, milliseconds
from royalty.infra.tracking.records import DatasetRecord, FinishedRun, ModelRecord, Payment, Period
from royalty.infra.tracking.source import user

KEY_TAG, DIGEST_TAG = "royalty.key", "royalty.digest"

CREDIT_TAG = "royalty.credit_table"
"""Tag with the digest of the credit table that a run found."""

KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
"""MLflow opens an experiment of this kind at its runs and models; without a kind it shows traces of language models."""

GONE = "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"
"""MLflow's error codes for a run that it does not have, and for one that was deleted."""

WRITERS = 4
"""Threads that log runs to a server. A database accepts one writer; several threads would wait and double the work."""


def used_tag(run: str) -> str:
    """Tag of the coalitions that the credit of a run is estimated from. A coalition may serve several runs."""
    return f"royalty.used_by.{run}"


class Tracking:
    """Writes to one MLflow store. No computation depends on what it reads from there."""

    RUNS = "royalty"
    COALITIONS = "royalty-coalitions"  # in the experiment of their parents, pages of the UI would separate them
    DESCRIBED: ClassVar = {
        RUNS: "Runs of Royalty, a child each stage: credit of contributors, payouts, and values of single images.",
        COALITIONS: "A run each coalition of contributors: the model trained on their images alone, and its utility. "
        "Sort by `utility` or `size`; `mlflow.parentRunId` is the run that it was measured for.",
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
        started: float | None = None,
    ) -> str:
        """Create a run and return its ID; unfinished runs of the same key are deleted first.

        Args:
            started: when it began, in seconds since the epoch; now if None.
        """
        owner = self._experiment(experiment)
        if parent is None:
            for run in self.client.search_runs([owner], f"tags.`{KEY_TAG}` = '{key}' and status = 'RUNNING'"):
                self._discard(run.info.run_id)
        base_tags = {KEY_TAG: key, MLFLOW_RUN_NOTE: note, MLFLOW_USER: user()}
        base_tags |= {MLFLOW_PARENT_RUN_ID: parent} if parent else {}
        began = milliseconds(time.time() if started is None else started)
        run = self.client.create_run(owner, start_time=began, tags={**base_tags, **tags}, run_name=name)
        return str(run.info.run_id)

    def record(self, experiment: str, run: FinishedRun, parent: str) -> str:
        """Log a finished run in four round trips, and return its ID. Several threads may call this at once."""
        tags = {**run.tags, f"royalty.dataset.{run.dataset.name}": run.dataset.digest, used_tag(parent): "yes"}
        identity = self.start(
            experiment, run.name, key=run.key, parent=parent, note=run.note, tags=tags, started=run.period.started
        )
        models = [LoggedModelInput(run.start)] if run.start else []
        self.client.log_inputs(identity, [dataset_input(run.dataset)], models)
        metrics = metrics_of(run.metrics, run.period.ended) + curve_of("loss", run.losses, run.period)
        params = [Param(name, str(value)) for name, value in run.params.items()]
        self.client.log_batch(identity, metrics=metrics, params=params)
        self.finish(identity, run.period.ended)
        return identity

    def record_all(
        self,
        experiment: str,
        runs: Sequence[FinishedRun],
        parent: str,
        done: Callable[[int], None],
        *,
        logged: Mapping[str, Sequence[str]] = {},
    ) -> dict[str, str]:
        """Log runs, several at once; return their IDs by key, and call `done` for each finished one.

        Args:
            logged: IDs of runs, by key, that were logged for other parents. If one of them is still in the store, it is
                not logged again.
        """
        self._experiment(experiment)  # before the threads, each of which would create it

        def log(run: FinishedRun) -> str:
            present = (earlier for earlier in logged.get(run.key, ()) if self._used(earlier, parent))
            return next(present, None) or self.record(experiment, run, parent)

        ids: dict[str, str] = {}
        with ThreadPoolExecutor(WRITERS if self.uri.startswith("http") else 1) as pool:
            waiting = {pool.submit(log, run): run.key for run in runs}
            for future in as_completed(waiting):
                ids[waiting[future]] = future.result()
                done(1)
        return ids

    def _used(self, run: str, parent: str) -> bool:
        """Tag a logged run as used by this parent; False if the store has no such run, or it was deleted."""
        try:
            self.client.set_tag(run, used_tag(parent), "yes")
        except MlflowException as error:
            if error.error_code not in GONE:
                raise
            return False
        return True

    def register(
        self, name: str, model: str, run: str, note: str, aliases: Sequence[str], *, card: str, digest: str
    ) -> str:
        """Register a logged model, once, as a version with these aliases; return the version's number.

        Args:
            run: ID of the run that the page of the version links to.
            note: description of the version.
            card: description of the registered model, in Markdown.
            digest: of the model.
        """
        with suppress(MlflowException):  # it exists already
            self.client.create_registered_model(name)
        self.client.update_registered_model(name, card)
        versions = self.client.search_model_versions(f"name = '{name}' and tags.`{DIGEST_TAG}` = '{digest}'")
        if versions:
            number = str(max(int(version.version) for version in versions))
        else:
            # For a database, MLflow resolves a `models:/` address in the store of the environment, which may differ.
            local = not self.uri.startswith("http")
            source = self.client.get_logged_model(model).artifact_location if local else f"models:/{model}"
            registered = self.client.create_model_version(
                name, source, run_id=run, tags={DIGEST_TAG: digest}, description=note, model_id=model
            )
            number = str(registered.version)
        self._show_version(model, name, number)
        for alias in aliases:
            self.client.set_registered_model_alias(name, alias, number)
        return number

    def _show_version(self, model: str, name: str, number: str) -> None:
        """List a version on the page of its logged model, which reads this tag and not the registry."""
        listed = json.loads(self.client.get_logged_model(model).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
        version = {"name": name, "version": number}
        if version not in listed:
            self.client.set_logged_model_tags(model, {MLFLOW_MODEL_VERSIONS: json.dumps([*listed, version])})

    def log(self, run: str, *, params: Mapping[str, Any] = {}, metrics: Mapping[str, float] = {}) -> None:
        self.client.log_batch(
            run,
            metrics=metrics_of(metrics, time.time()),
            params=[Param(name, str(value)) for name, value in params.items()],
        )

    def curve(self, run: str, name: str, points: Sequence[Sequence[float]], period: Period) -> None:
        """Log a metric over steps, which took place in this period."""
        self.client.log_batch(run, metrics=curve_of(name, points, period))

    def note(self, run: str, note: str) -> None:
        """Set the description of a run, in Markdown."""
        self.client.set_tag(run, MLFLOW_RUN_NOTE, note)

    def show_payment(self, table: str, payment: Payment, checkpoint: Path | None = None) -> None:
        """Update the description and the tags of the runs that found a credit table.

        Args:
            table: digest of the credit table.
            checkpoint: file of the last checkpoint of the ledger, which is logged in the folder `ledger`.
        """
        for run in self.client.search_runs([self._experiment(self.RUNS)], f"tags.`{CREDIT_TAG}` = '{table}'"):
            note = payment.within(run.data.tags.get(MLFLOW_RUN_NOTE, ""))
            self.tag(run.info.run_id, {**payment.tags, MLFLOW_RUN_NOTE: note})
            if checkpoint is not None:
                self.client.log_artifact(run.info.run_id, str(checkpoint), "ledger")

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        self.client.log_batch(run, tags=[RunTag(name, value) for name, value in tags.items()])

    def dataset(self, run: str, dataset: DatasetRecord) -> None:
        """Log a dataset as an input."""
        self.client.log_inputs(run, [dataset_input(dataset)])
        self.tag(run, {f"royalty.dataset.{dataset.name}": dataset.digest})

    def model(
        self, run: str, model: ModelRecord, payload: Callable[[], bytes], period: Period, *, also: str | None = None
    ) -> str:
        """Log a model as an output of a run, once for each digest; return the model's ID.

        Args:
            period: when it was trained.
            payload: reads the model's safetensors; called only if the store has no such model yet.
            also: ID of another run, such as the parent, whose page lists the model too.
        """
        experiment = self._experiment(self.RUNS)
        identity = self._logged(experiment, model.digest) or self._new_model(experiment, run, model, payload())
        for owner in filter(None, (run, also)):
            self.client.log_outputs(owner, [LoggedModelOutput(identity, 0)])
        now = time.time()
        measured = metrics_of(model.metrics, now, model=identity, dataset=model.dataset)
        sizes = metrics_of(model.size, now, model=identity)
        losses = curve_of("loss", model.losses, period, model=identity, dataset=model.trained_on)
        self.client.log_batch(run, metrics=[*measured, *sizes, *losses])
        return identity

    def _logged(self, experiment: str, digest: str) -> str | None:
        """ID of the completely logged model with this digest."""
        models = self.client.search_logged_models([experiment], f"tags.`{DIGEST_TAG}` = '{digest}'")
        return next((str(model.model_id) for model in models if model.status == LoggedModelStatus.READY), None)

    def _new_model(self, experiment: str, run: str, model: ModelRecord, payload: bytes) -> str:
        entry = self.client.create_logged_model(
            experiment,
            model.name,
            source_run_id=run,
            tags={DIGEST_TAG: model.digest, MLFLOW_USER: user(), MLFLOW_RUN_NOTE: model.note, **self._source_of(run)},
            params=dict(model.params),
            model_type="generator",
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "model.safetensors").write_bytes(payload)
            self.client.log_model_artifacts(entry.model_id, folder)
        self.client.finalize_logged_model(entry.model_id, "READY")
        return str(entry.model_id)

    def _source_of(self, run: str) -> dict[str, str]:
        """Tags of a run that say what made it; the list of models shows them as "Logged from"."""
        tags = self.client.get_run(run).data.tags
        return {name: value for name, value in tags.items() if name.startswith("mlflow.source.")}

    def image(self, run: str, name: str, png: bytes, step: int) -> None:
        """Log an image of a series, which the pages show with a slider over its steps."""
        self.client.log_image(run, Image.open(BytesIO(png)), key=name, step=step, synchronous=True)

    def table(self, run: str, table: pd.DataFrame, file: str) -> None:
        self.client.log_table(run, table, file)

    def files(self, run: str, files: Mapping[str, bytes | Iterable[bytes]]) -> None:
        """Log files by name, which may include folders, in one call. A large one may be given in pieces."""
        with tempfile.TemporaryDirectory() as folder:
            for name, payload in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as stream:
                    stream.writelines([payload] if isinstance(payload, bytes) else payload)
            self.client.log_artifacts(run, folder)

    def finish(self, run: str, ended: float | None = None) -> None:
        """End a run.

        Args:
            ended: in seconds since the epoch; now if None.
        """
        self.client.set_terminated(run, end_time=None if ended is None else milliseconds(ended))

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
                tags = {MLFLOW_RUN_NOTE: self.DESCRIBED[name], KIND_TAG: KIND}
                self._experiments[name] = str(self.client.create_experiment(name, location, tags))
            else:
                if KIND_TAG not in experiment.tags:  # created by an earlier version
                    self.client.set_experiment_tag(experiment.experiment_id, KIND_TAG, KIND)
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
        keep_private(path)
        return
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as folder:
        built = Path(folder, path.name)
        built.touch(0o666 & ~umask(path.parent))
        if template("mlflow").exists():
            shutil.copyfile(template("mlflow"), built)
        else:
            create_database(built)
        with suppress(FileExistsError):
            path.hardlink_to(built)


def create_database(path: Path) -> None:
    """Create an empty database with MLflow's migrations."""
    MlflowClient(tracking_uri=f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection, connection:
        # MLflow makes a default experiment again wherever it finds none; this one names the current folder.
        connection.execute("delete from experiments")
