"""The stages that show a run, MLflow's runs and the pages; and the finished stages that they show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from royalty.infra.stores.artifacts import StoreError
from royalty.tasks.credit.estimate import CREDIT, Credited
from royalty.tasks.credit.stages import (
    CLASSIFIER,
    INGEST,
    MEASURE,
    PIPELINE,
    PRUNE,
    TRAIN,
    Classified,
    Ingested,
    Measured,
    Pipeline,
    Pruned,
    Trained,
)
from royalty.tasks.items.stages import MATCH, Matched
from royalty.tasks.pay.stages import PAY, DividedPool
from royalty.tasks.stages.stage import Finished, Stage

if TYPE_CHECKING:
    from royalty.infra.stores.runstore import StageRecord
    from royalty.infra.workspace import Workspace

Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")


@dataclass(frozen=True)
class TrackInputs:
    """A run by its name, the keys of its stages, and of the measurements that its credit is estimated from."""

    name: str
    stages: list[str]
    measurements: list[str]


@dataclass(frozen=True)
class TrackOutputs:
    """The ids of the MLflow run, of the Prefect flow run, and of the commit.

    Attributes:
        experiments: MLflow's ids, by `runs` and `coalitions`.
        runs: MLflow's run of each stage and coalition, by key.
    """

    run: str
    commit: str
    flow_run: str
    # Rows of earlier versions lack these.
    experiments: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportInputs:
    """All that the pages show.

    Attributes:
        stages: keys, by name.
        template: digest of what pages look like.
        context: digests and rows that the pages of contributors depend on besides.
    """

    name: str
    stages: Mapping[str, str]
    notes: list[str]
    checks: list[str]
    template: str
    context: Mapping[str, Any]


@dataclass(frozen=True)
class ReportOutputs:
    """Digests of the report, and of every page by file name."""

    report: str
    pages: dict[str, str]


TRACK = Stage("track", TrackInputs, TrackOutputs)
REPORT = Stage("report", ReportInputs, ReportOutputs)

Tracked = Finished[TrackInputs, TrackOutputs]
Reported = Finished[ReportInputs, ReportOutputs]


@dataclass(frozen=True)
class WrittenReport:
    """The report of a run, and the folder that it was written to, with the tables."""

    folder: str
    stage: Reported


@dataclass(frozen=True)
class RunStages:
    """The finished stages of a run.

    Attributes:
        pipeline: under the LoRAs, if the run trained it.
        match: of what everybody's model makes.
        track: None before the run is logged.
    """

    ingest: Ingested
    classifier: Classified
    pipeline: Pipeline | None
    train: Trained
    prune: Pruned
    measure: Measured
    credit: Credited
    pay: DividedPool
    match: Matched
    track: Tracked | None = None

    @classmethod
    def kept(cls, space: Workspace, keys: Iterable[str]) -> RunStages:
        """The stages with these keys, from the run store; of a division what the store does not hold is left empty.

        Raises:
            StoreError: one of them is not there, or was recorded by an earlier version with other fields.
        """
        rows = {row.name: row for key in keys if (row := space.runs.stage(key)) is not None}
        return cls(
            ingest=_finished(INGEST, rows),
            classifier=_finished(CLASSIFIER, rows),
            pipeline=_finished(PIPELINE, rows) if PIPELINE.name in rows else None,
            train=_finished(TRAIN, rows),
            prune=_finished(PRUNE, rows),
            measure=_finished(MEASURE, rows),
            credit=_finished(CREDIT, rows),
            pay=DividedPool(_finished(PAY, rows), shared_accounts=[], statement=None),
            match=_finished(MATCH, rows),
            track=_finished(TRACK, rows) if TRACK.name in rows else None,
        )

    @property
    def finished(self) -> list[Finished[Any, Any]]:
        """All of them, in the order of a run."""
        models = self.ingest, self.classifier, self.pipeline, self.train, self.prune, self.measure
        stages = *models, self.credit, self.pay.stage, self.match, self.track
        return [stage for stage in stages if stage is not None]

    @property
    def keys(self) -> dict[str, str]:
        """Keys by the names of the stages."""
        return {stage.name: stage.key for stage in self.finished}

    @property
    def logged_run(self) -> Tracked:
        """The stage that logged the run.

        Raises:
            ValueError: there is none yet.
        """
        if self.track is None:
            raise ValueError("a report names the MLflow run of its stages, and they have none yet; log the run first")
        return self.track


def _finished(stage: Stage[Inputs, Outputs], rows: Mapping[str, StageRecord]) -> Finished[Inputs, Outputs]:
    if stage.name not in rows:
        raise StoreError(
            f"the stages of a run are in the run store, and its {stage.name!r} is not; was a part of the store "
            "deleted? Credit the run again under another name"
        )
    try:
        return stage.finished(rows[stage.name])
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, fault["loc"])) for fault in error.errors()}))
        raise StoreError(
            f"the stages of a run are read by the version that recorded them, or by one with the same fields; stage "
            f"{stage.name!r} ({rows[stage.name].key[:16]}) was recorded with others, see {fields}. Credit the run "
            "again under another name"
        ) from None
