"""Walk the lineage of an id from money to images, and prove each step again."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from infra.lineage import Edge, Origin
from infra.postings import Posted
from infra.provenance import State, Step, Trace
from infra.runstore import CoalitionRecord, MeasurementRecord, StageRecord
from infra.settings import settings
from infra.workspace import Workspace
from models.data.items import ImageSet
from tasks.payout_config import PayoutConfig
from tasks.trace_id import Found, title_of

ORDER = (
    "Payout statement",
    "Policy",
    "Payout table",
    "Report",
    "Credit table",
    "Coalition run",
    "Pruned model",
    "Pruned model, before its recovery",
    "Base model",
    "Pipeline under the base model",
    "Values by GMValuator",
    "Values of items",
    "Classifier that judges",
    "Training images",
    "Held-out images",
    "Images of the classifier",
)
"""Titles from money to images; others follow, and what made them comes last."""


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
        for track in self.named("track"):
            run = track.outputs.get("runs", {}).get(key)
            if run:
                experiment = track.outputs["experiments"]["coalitions" if key in self.coalitions else "runs"]
                return {**shown, "mlflow_run": run, "mlflow_url": mlflow_url(experiment, run)}
        return shown


def trace_found(space: Workspace, asked: str, found: Found) -> Trace:
    """The whole way of what was found, every artifact on it hashed again."""
    way = Way.walked(space, found)
    steps = [*_statements(way), *_policies(way), *_artifacts(way), *_coalitions(way), *_runs(way)]
    place = {title: index for index, title in enumerate(ORDER)}
    steps.sort(key=lambda step: (step.title == "Run", place.get(step.title, len(ORDER))))  # stable: rows keep order
    steps = [replace(step, asked=step.id == found.id) for step in steps]
    if found.facts:
        steps.append(Step("Item", found.id, "recorded", found.facts, asked=True))
    return Trace(
        asked=asked,
        kind=found.kind,
        id=found.id,
        steps=tuple(steps),
        hashed=sum(step.state == "verified" for step in steps),
        problems=tuple(f"{step.title} {step.id[:16]}: {step.problem}" for step in steps if step.problem),
    )


def _pays(stage: StageRecord, tables: Collection[str]) -> bool:
    """Whether a stage divided a pool by one of these credit tables."""
    return stage.name == "pay" and stage.inputs["table"] in tables


def mlflow_url(experiment: str, run: str) -> str | None:
    """Where a tracking server shows a run; a local store is shown by `royalty ui`, on a port of the moment."""
    uri = settings().mlflow_uri
    return f"{uri.rstrip('/')}/#/experiments/{experiment}/runs/{run}" if uri.startswith("http") else None


def _statements(way: Way) -> Iterator[Step]:
    """What the ledger holds, compared with the table that was to be paid."""
    for posted in way.statements:
        pays = [
            pay
            for pay in way.named("pay")
            if pay.inputs["table"] == posted.valuation
            and (pay.inputs["pool"], pay.inputs.get("period", "")) == (posted.pool, posted.period)
            and not pay.outputs["refusal"]
        ]
        part = "held" if posted.kind == "release" else "amount"
        settlements = [pay.outputs["settlements"] for pay in pays]
        if posted.kind == "release":  # of some, what all or some of them were waiting for
            settlements = [{name: rows.get(name, {}) for name in posted.paid} for rows in settlements]
        tables = [{name: row.get(part) for name, row in rows.items()} for rows in settlements]
        problem = None
        if not tables:
            problem = "no payout table says what this statement should pay"
        elif dict(posted.paid) not in tables:
            problem = "the ledger paid other amounts than the payout table says"
        later = "" if posted.active else ", reversed by a later one"
        money = PayoutConfig(pool=Decimal(0), currency=posted.currency).formatted
        yield Step(
            "Payout statement",
            posted.id,
            "changed" if problem else "verified",
            (
                ("Pool", f"{posted.pool}, statement {posted.sequence}{later}"),
                ("Paid", f"{money(sum(posted.paid.values()))} on {posted.created_at[:10]}"),
                *((name, money(amount)) for name, amount in posted.paid.items()),
            ),
            problem,
        )


def _policies(way: Way) -> Iterator[Step]:
    for pay in way.named("pay"):
        config = PayoutConfig(**pay.inputs["config"])
        refusal = pay.outputs["refusal"]
        yield Step(
            "Policy",
            config.policy,
            "recorded",
            (
                ("Pool", f"{pay.inputs['pool']}, {config.formatted(config.minor_units)}"),
                ("Terms", config.terms(frozenset(pay.inputs.get("unpayable", ()))).description(config.formatted)),
                *((("Refused", refusal),) if refusal else ()),
            ),
        )


def _artifacts(way: Way) -> Iterator[Step]:
    for digest, edge in way.artifacts.items():
        stage = way.stages[edge.parent]
        state, problem = hashed(way.space.artifacts.path(digest), digest)
        problem = problem or way.row_problem(stage.key)
        facts = _facts(way, stage, edge.role)
        if stage.name == "ingest" and edge.role == "train" and state == "verified":
            problem = problem or _other_images(way.space.artifacts.get(digest), stage)
        state = "changed" if problem and state == "verified" else state
        yield Step(title_of(stage.name, edge.role), digest, state, facts, problem, **way.provenance(stage.key))


def hashed(path: Path, digest: str) -> tuple[State, str | None]:
    """Whether a file still has its digest; and if not, what is wrong."""
    if not path.exists():
        return "missing", f"{path} is not there any more"
    with path.open("rb") as stream:
        now = hashlib.file_digest(stream, "sha256").hexdigest()
    return ("verified", None) if now == digest else ("changed", f"{path} was changed: its SHA-256 is now {now}")


def _other_images(payload: bytes, stage: StageRecord) -> str | None:
    """Whether the images are those that each contributor is said to have brought."""
    data, said = ImageSet.from_bytes(payload), stage.outputs
    own = [data.digest_of(index) for index in range(len(data.contributors))]
    brought = dict(zip(data.contributors, data.membership.sum(axis=0).tolist(), strict=True))
    same = own == said["contributor_digests"] and brought == said["items"]
    return None if same else "the images of its contributors are others than were recorded"


def _facts(way: Way, stage: StageRecord, role: str) -> tuple[tuple[str, str], ...]:
    """What there is to say of the output of a stage."""
    said = stage.outputs
    match stage.name, role:
        case "ingest", "train":
            counts = (f"{name} {count}" for name, count in said["items"].items())
            return ("Images", f"{said['total_items']} distinct, {said['shared_items']} of several contributors"), (
                "By contributor",
                ", ".join(counts),
            )
        case "credit", "table":
            return (
                (
                    "Divides",
                    f"everybody's model scores {said['grand_utility']:.6g}, nobody's {said['null_utility']:.6g}",
                ),
                ("Estimator", str(said["diagnostics"].get("estimator", ""))),
                ("Coalitions", f"{said['trained']} models, {len(said['failed'])} failed"),
            )
        case "train" | "prune", "model":
            return (("Size", f"{said['parameters']:,} parameters"), ("Settings", _flat(stage.inputs)))
        case "classifier", "classifier":
            return (("Accuracy", f"{said['accuracy']:.1%} on held-out images"),)
        case _:
            return ()


def _coalitions(way: Way) -> Iterator[Step]:
    """A coalition each: its checkpoint is hashed, and its row and those of its measurements compared."""
    measured: dict[str, list[MeasurementRecord]] = {}
    for measurement in way.measurements.values():
        measured.setdefault(measurement.coalition, []).append(measurement)
    for row in sorted(way.coalitions.values(), key=lambda row: (-len(row.members), row.members)):
        state, problem = (
            ("recorded", None)
            if row.checkpoint is None
            else hashed(way.space.artifacts.path(row.checkpoint), row.checkpoint)
        )
        own = measured.get(row.key, [])
        problem = problem or next(filter(None, map(way.row_problem, [row.key, *(one.key for one in own)])), None)
        facts = [
            ("Members", ", ".join(row.members) or "nobody"),
            ("Images", str(row.items)),
            ("Trained by", row.method),
        ]
        facts += [("Utility", f"{one.utility:.6g} of {one.property}") for one in own]
        facts += [("Model", row.checkpoint)] if row.checkpoint else [("Failed", row.failure or "")]
        state = "changed" if problem and state == "verified" else state
        yield Step("Coalition run", row.key, state, tuple(facts), problem, **way.provenance(row.key))


def _runs(way: Way) -> Iterator[Step]:
    """The runs that put it all together: name, configuration, commit, flow run, MLflow run."""
    for track in way.named("track"):
        said, name = track.outputs, track.inputs["name"]
        url = mlflow_url(said["experiments"]["runs"], said["run"]) if "experiments" in said else None
        problem = way.row_problem(track.key)
        config = way.space.runs.config(name)
        yield Step(
            "Run",
            name,
            "changed" if problem else "verified",
            (("Configuration", _flat(config or {})),),
            problem,
            said["commit"],
            said["flow_run"],
            said["run"],
            url,
        )


def _flat(value: Mapping[str, Any], prefix: str = "") -> str:
    """Nested settings in one line, without digests."""
    parts = []
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            parts.append(_flat(inner, f"{prefix}{key}."))
        elif not (isinstance(inner, str) and len(inner) == 64):
            parts.append(f"{prefix}{key}={inner}")
    return ", ".join(filter(None, parts))
