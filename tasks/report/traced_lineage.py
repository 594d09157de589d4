"""Everything that a trace reaches along the lineage: rows, artifacts and statements, with their origins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.trace import State
from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import ArtifactStore, ChangedArtifact, MissingArtifact
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.lineage import Edge, Origin
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord, StageRecord
from royalty.infra.tracking.addresses import run_page
from royalty.infra.workspace import Workspace
from royalty.tasks.pay.stages import PAY, Paid, posted_terms
from royalty.tasks.report.rows import readable
from royalty.tasks.report.stages import TRACK, Tracked
from royalty.tasks.report.trace_id import TraceTarget


@dataclass(frozen=True)
class TracedLineage:
    """Everything that a trace reaches.

    Attributes:
        stages, coalitions, measurements: rows of the run store, by key.
        artifacts: by digest, the edge from the stage that made the artifact.
        origins: when and by which code and flow run a row was written, by key.
        contents: digests of the rows as they are now, by key.
    """

    space: Workspace
    target: TraceTarget
    stages: Mapping[str, StageRecord]
    coalitions: Mapping[str, CoalitionRecord]
    measurements: Mapping[str, MeasurementRecord]
    artifacts: Mapping[str, Edge]
    origins: Mapping[str, Origin]
    contents: Mapping[str, str]

    @classmethod
    def from_target(cls, space: Workspace, target: TraceTarget) -> TracedLineage:
        """Collect everything downstream of a target or its makers, and everything upstream of that.

        Payouts of the credit tables reached are added: a later payout is not upstream of a run. Divisions that were
        neither posted nor part of a finished run, such as those of dry runs, are left out.
        """
        makers = (edge.parent for edge in space.lineage.parents(target.nodes) if edge.run == edge.parent)
        starts = {*target.nodes, *makers}
        reached = starts | set(space.lineage.downstream(starts))
        nodes = reached | set(space.lineage.upstream(reached))
        recorded = space.runs.stages()
        divided = {stage.key for stage in recorded if _pays(stage, nodes)}
        unposted = divided - _posted(space, recorded) - _tracked(recorded)
        stages = {
            stage.key: stage
            for stage in recorded
            if (stage.key in nodes or stage.key in divided) and stage.key not in unposted
        }
        coalitions, measurements = space.runs.coalitions(nodes), space.runs.measurements(nodes)
        keys = {*stages, *coalitions, *measurements}
        outputs = [edge for edge in space.lineage.children(stages) if edge.run == edge.parent]
        artifacts = {edge.child: edge for edge in outputs}
        return cls(
            space=space,
            target=target,
            stages=stages,
            coalitions=coalitions,
            measurements=measurements,
            artifacts=artifacts,
            origins=space.lineage.origins(keys),
            contents=space.runs.contents(keys),
        )

    @cached_property
    def statements(self) -> list[Posted]:
        """Payout statements by the credit tables reached."""
        return [posted for posted in self.space.ledger.statements() if posted.valuation in self.artifacts]

    def due_after(self, posted: Posted) -> dict[str, int]:
        """Minor units due to each contributor of a pool after a statement, if not zero: see `Money.due`.

        What decisions of cases moved from one to another is left out, as corrections leave it out.
        """
        due: dict[str, int] = defaultdict(int)
        for statement in self.space.ledger.statements():
            same_pool = (statement.pool, statement.period) == (posted.pool, posted.period)
            if same_pool and statement.sequence <= posted.sequence and statement.kind != "decision":
                for amounts in (statement.moved, statement.withheld, statement.held, statement.accounts):
                    for name, amount in amounts.items():
                        due[name] += amount
        return {name: amount for name, amount in due.items() if amount}

    def named(self, name: str) -> list[StageRecord]:
        """Rows of a stage, by its name."""
        return [stage for stage in self.stages.values() if stage.name == name]

    @cached_property
    def tracks(self) -> list[Tracked]:
        """The stages that logged runs to MLflow."""
        return [track for row in self.named(TRACK.name) if (track := readable(TRACK, row)) is not None]

    def row_problem(self, key: str) -> str | None:
        """Compare a row with the digest taken when it was written; None if it is unchanged or has no digest."""
        origin = self.origins.get(key)
        if origin is None or origin.content == self.contents[key]:
            return None
        return "its row in the run store was changed after it was written"

    def evidence_problem(self, posted: Posted) -> str | None:
        """Compare the rows that a statement rests on with the digests under its hash; None if all are as they were."""
        evidence = self.space.ledger.evidence_of(posted.evidence) if posted.evidence else None
        rows: dict[str, str] = dict((evidence or {}).get("rows", {}))
        now = self.space.runs.contents(rows)
        changed = next((key for key, digest in rows.items() if now.get(key) != digest), None)
        return None if changed is None else f"the row {changed} of the run store, which it rests on, has changed"

    def provenance(self, key: str) -> dict[str, Any]:
        """Commit, flow run and MLflow run of a row, as keyword arguments of `Step`."""
        origin = self.origins.get(key)
        source: dict[str, Any] = {"commit": origin.commit, "flow_run": origin.flow_run} if origin else {}
        for track in self.tracks:
            if run := track.outputs.runs.get(key):
                experiment = track.outputs.experiments["coalitions" if key in self.coalitions else "runs"]
                return {**source, "mlflow_run": run, "mlflow_url": mlflow_url(experiment, run)}
        return source


def hashed(artifacts: ArtifactStore, digest: str) -> tuple[State, str | None]:
    """Hash an artifact of the store again; returns its state and, unless it is verified, the problem."""
    try:
        artifacts.audited(digest)
    except MissingArtifact:
        return "missing", f"{artifacts.address(digest)} is missing"
    except ChangedArtifact as changed:
        return "changed", f"{artifacts.address(digest)} was changed: its SHA-256 is now {changed.now}"
    return "verified", None


def _pays(stage: StageRecord, tables: Collection[str]) -> bool:
    """Whether a stage divided a pool by one of these credit tables."""
    return stage.name == PAY.name and stage.inputs["table"] in tables


def _posted(space: Workspace, stages: Iterable[StageRecord]) -> set[str]:
    """Keys of the stages whose division the ledger holds, or may hold: those of earlier versions cannot be compared."""
    posted = {(row.pool, row.period, row.valuation, row.policy) for row in space.ledger.statements()}
    return {
        stage.key
        for stage in stages
        if stage.name == PAY.name and ((paid := readable(PAY, stage)) is None or _identity(paid) in posted)
    }


def _identity(paid: Paid) -> tuple[str, str, str, str]:
    """Pool, period, valuation and policy of a division, as its statement has them."""
    return paid.inputs.pool, paid.inputs.period, paid.inputs.table, digest_of(posted_terms(paid))


def _tracked(stages: Iterable[StageRecord]) -> set[str]:
    """Keys of the stages that belong to a finished run."""
    return {key for stage in stages if stage.name == TRACK.name for key in stage.inputs["stages"]}


def mlflow_url(experiment: str, run: str) -> str | None:
    """Address of a run on a tracking server; None for a local store, which `royalty ui` serves on a varying port."""
    uri = settings().mlflow_uri
    return run_page(uri, experiment, run) if uri.startswith("http") else None
