"""All that a trace reaches along the lineage: rows, artifacts, statements, and where each comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.trace import State
from royalty.infra.settings import settings
from royalty.infra.stores.lineage import Edge, Origin
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord, StageRecord
from royalty.infra.workspace import Workspace
from royalty.tasks.pay.stages import PAY
from royalty.tasks.report.rows import readable
from royalty.tasks.report.stages import TRACK, Tracked
from royalty.tasks.report.trace_id import Found


@dataclass(frozen=True)
class Way:
    """All that a trace reaches: rows by key, artifacts by digest with the edge from the stage that made each."""

    space: Workspace
    found: Found
    stages: Mapping[str, StageRecord]
    coalitions: Mapping[str, CoalitionRecord]
    measurements: Mapping[str, MeasurementRecord]
    artifacts: Mapping[str, Edge]
    origins: Mapping[str, Origin]
    contents: Mapping[str, str]

    @classmethod
    def walked(cls, space: Workspace, found: Found) -> Way:
        """Everything that came from what was found, or from what made it, and everything that all of it came from.

        Payouts of the credit tables among that belong to it as well: what was paid later is not upstream of a run.
        """
        makers = (edge.parent for edge in space.lineage.parents(found.nodes) if edge.run == edge.parent)
        starts = {*found.nodes, *makers}
        reached = starts | set(space.lineage.downstream(starts))
        nodes = reached | set(space.lineage.upstream(reached))
        stages = {stage.key: stage for stage in space.runs.stages() if stage.key in nodes or _pays(stage, nodes)}
        coalitions, measurements = space.runs.coalitions(nodes), space.runs.measurements(nodes)
        keys = {*stages, *coalitions, *measurements}
        made = [edge for edge in space.lineage.children(stages) if edge.run == edge.parent]
        artifacts = {edge.child: edge for edge in made}
        return cls(
            space=space,
            found=found,
            stages=stages,
            coalitions=coalitions,
            measurements=measurements,
            artifacts=artifacts,
            origins=space.lineage.origins(keys),
            contents=space.runs.contents(keys),
        )

    @cached_property
    def statements(self) -> list[Posted]:
        return [posted for posted in self.space.ledger.statements() if posted.valuation in self.artifacts]

    def named(self, name: str) -> list[StageRecord]:
        return [stage for stage in self.stages.values() if stage.name == name]

    @cached_property
    def tracks(self) -> list[Tracked]:
        """The stages that logged a run."""
        return [track for row in self.named(TRACK.name) if (track := readable(TRACK, row)) is not None]

    def row_problem(self, key: str) -> str | None:
        """What is wrong with a row by the digest that was taken of it when it was written."""
        origin = self.origins.get(key)
        if origin is None or origin.content == self.contents[key]:
            return None
        return "its row in the run store was changed after it was written"

    def provenance(self, key: str) -> dict[str, Any]:
        """Commit, flow run and MLflow run of a row, as arguments of a step."""
        origin = self.origins.get(key)
        shown: dict[str, Any] = {"commit": origin.commit, "flow_run": origin.flow_run} if origin else {}
        for track in self.tracks:
            if run := track.outputs.runs.get(key):
                experiment = track.outputs.experiments["coalitions" if key in self.coalitions else "runs"]
                return {**shown, "mlflow_run": run, "mlflow_url": mlflow_url(experiment, run)}
        return shown


def hashed(path: Path, digest: str) -> tuple[State, str | None]:
    """Whether a file still has its digest; and if not, what is wrong."""
    if not path.exists():
        return "missing", f"{path} is not there any more"
    with path.open("rb") as stream:
        now = hashlib.file_digest(stream, "sha256").hexdigest()
    return ("verified", None) if now == digest else ("changed", f"{path} was changed: its SHA-256 is now {now}")


def _pays(stage: StageRecord, tables: Collection[str]) -> bool:
    """Whether a stage divided a pool by one of these credit tables."""
    return stage.name == PAY.name and stage.inputs["table"] in tables


def mlflow_url(experiment: str, run: str) -> str | None:
    """Where a tracking server shows a run; a local store is shown by `royalty ui`, on a port of the moment."""
    uri = settings().mlflow_uri
    return f"{uri.rstrip('/')}/#/experiments/{experiment}/runs/{run}" if uri.startswith("http") else None
