"""Walk the lineage of an id from money to images, and prove each step again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.trace import State, Step, Trace
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord, StageRecord
from royalty.infra.workspace import Workspace
from royalty.models.data.stored import open_set
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import CREDIT, CreditOutputs
from royalty.tasks.credit.stages import CLASSIFIER, INGEST, PRUNE, TRAIN, IngestOutputs
from royalty.tasks.pay.stages import PAY, Paid
from royalty.tasks.report.rows import readable
from royalty.tasks.report.trace_id import Found, title_of
from royalty.tasks.report.way import Way, hashed, mlflow_url

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

EARLIER = ("Recorded", "by an earlier version of this package, in fields that this one cannot show")
"""Said in place of the content of such a row; digests, rows and files are verified all the same."""

Facts = tuple[tuple[str, str], ...]


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


def _statements(way: Way) -> Iterator[Step]:
    """What the ledger holds, compared with the table that was to be paid."""
    for posted in way.statements:
        rows = [row for row in way.named(PAY.name) if row.inputs["table"] == posted.valuation]
        divisions = [readable(PAY, row) for row in rows]
        problem = _other_amounts(posted, [division for division in divisions if division is not None])
        # A row that cannot be read may be the one that this statement pays.
        unread = problem is not None and None in divisions
        later = "" if posted.active else ", reversed by a later one"
        money = PayoutConfig(pool=Decimal(0), currency=posted.currency).formatted
        facts = (
            ("Pool", f"{posted.pool}, statement {posted.sequence}{later}"),
            ("Paid", f"{money(sum(posted.paid.values()))} on {posted.created_at[:10]}"),
            *((name, money(amount)) for name, amount in posted.paid.items()),
        )
        if unread:
            yield Step("Payout statement", posted.id, "recorded", (*facts, ("Payout table", EARLIER[1])))
        else:
            yield Step("Payout statement", posted.id, "changed" if problem else "verified", facts, problem)


def _other_amounts(posted: Posted, divisions: Sequence[Paid]) -> str | None:
    """What a statement paid that no division of its pool by its credit table says; None if one says it."""
    tables = [
        {name: row.held if posted.kind == "release" else row.amount for name, row in paid.outputs.settlements.items()}
        for paid in divisions
        if (paid.inputs.pool, paid.inputs.period) == (posted.pool, posted.period) and not paid.outputs.refusal
    ]
    if not tables:
        return "no payout table says what this statement should pay"
    if posted.kind == "release":  # of some, what all or some of them were waiting for
        waiting = [{name: table.get(name) for name in posted.paid} for table in tables]
        return None if dict(posted.paid) in waiting else "the ledger released other amounts than the payout table holds"
    return None if dict(posted.paid) in tables else "the ledger paid other amounts than the payout table says"


def _policies(way: Way) -> Iterator[Step]:
    for row in way.named(PAY.name):
        paid = readable(PAY, row)
        if paid is None:
            yield Step("Policy", row.key, "recorded", (EARLIER,))
            continue
        config = PayoutConfig(**paid.inputs.config)
        refusal = paid.outputs.refusal
        yield Step(
            "Policy",
            config.policy,
            "recorded",
            (
                ("Pool", f"{paid.inputs.pool}, {config.formatted(config.minor_units)}"),
                ("Terms", config.terms(frozenset(paid.inputs.unpayable)).description(config.formatted)),
                *((("Refused", refusal),) if refusal else ()),
            ),
        )


def _artifacts(way: Way) -> Iterator[Step]:
    for digest, edge in way.artifacts.items():
        row = way.stages[edge.parent]
        state, problem = hashed(way.space.artifacts.path(digest), digest)
        problem = problem or way.row_problem(row.key)
        if (row.name, edge.role) == (INGEST.name, "train") and state == "verified":
            problem = problem or _other_images(way.space.artifacts.path(digest), row)
        state = "changed" if problem and state == "verified" else state
        facts = _facts(row, edge.role)
        yield Step(title_of(row.name, edge.role), digest, state, facts, problem, **way.provenance(row.key))


def _other_images(path: Path, row: StageRecord) -> str | None:
    """Whether the images are those that each contributor is recorded to have brought."""
    ingested = readable(INGEST, row)
    if ingested is None:
        return None
    data = open_set(path)
    digests = [data.digest_of(index) for index in range(len(data.contributors))]
    counts = dict(zip(data.contributors, data.membership.sum(axis=0).tolist(), strict=True))
    same = digests == ingested.outputs.contributor_digests and counts == ingested.outputs.items
    return None if same else "the images of its contributors are others than were recorded"


def _facts(row: StageRecord, role: str) -> Facts:
    """What there is to say of the output of a stage."""
    try:
        match row.name, role:
            case INGEST.name, "train":
                return _image_facts(INGEST.finished(row).outputs)
            case CREDIT.name, "table":
                return _credit_facts(CREDIT.finished(row).outputs)
            case TRAIN.name, "model":
                return _model_facts(TRAIN.finished(row).outputs.parameters, row)
            case PRUNE.name, "model":
                return _model_facts(PRUNE.finished(row).outputs.parameters, row)
            case CLASSIFIER.name, "classifier":
                return (("Accuracy", f"{CLASSIFIER.finished(row).outputs.accuracy:.1%} on held-out images"),)
            case _:
                return ()
    except ValidationError:
        return (EARLIER,)


def _image_facts(data: IngestOutputs) -> Facts:
    return (
        ("Images", f"{data.total_items} distinct, {data.shared_items} of several contributors"),
        ("By contributor", ", ".join(f"{name} {count}" for name, count in data.items.items())),
    )


def _credit_facts(credit: CreditOutputs) -> Facts:
    return (
        ("Divides", f"everybody's model scores {credit.grand_utility:.6g}, nobody's {credit.null_utility:.6g}"),
        ("Estimator", str(credit.diagnostics.get("estimator", ""))),
        ("Coalitions", f"{credit.trained} models, {len(credit.failed)} failed"),
    )


def _model_facts(parameters: int, row: StageRecord) -> Facts:
    return ("Size", f"{parameters:,} parameters"), ("Settings", _flat(row.inputs))


def _coalitions(way: Way) -> Iterator[Step]:
    """A coalition each: its checkpoint is hashed, and its row and those of its measurements compared."""
    measured: dict[str, list[MeasurementRecord]] = {}
    for measurement in way.measurements.values():
        measured.setdefault(measurement.coalition, []).append(measurement)
    for row in sorted(way.coalitions.values(), key=lambda row: (-len(row.members), row.members)):
        measurements = measured.get(row.key, [])
        state, problem = _checkpoint(way, row)
        keys = [row.key, *(measurement.key for measurement in measurements)]
        problem = problem or next(filter(None, map(way.row_problem, keys)), None)
        state = "changed" if problem and state == "verified" else state
        facts = _coalition_facts(row, measurements)
        yield Step("Coalition run", row.key, state, facts, problem, **way.provenance(row.key))


def _checkpoint(way: Way, row: CoalitionRecord) -> tuple[State, str | None]:
    """Whether the model of a coalition still has its digest; a training that failed left none."""
    if row.checkpoint is None:
        return "recorded", None
    return hashed(way.space.artifacts.path(row.checkpoint), row.checkpoint)


def _coalition_facts(row: CoalitionRecord, measurements: Sequence[MeasurementRecord]) -> Facts:
    return (
        ("Members", ", ".join(row.members) or "nobody"),
        ("Images", str(row.items)),
        ("Trained by", row.method),
        *(("Utility", f"{measurement.utility:.6g} of {measurement.property}") for measurement in measurements),
        ("Model", row.checkpoint) if row.checkpoint else ("Failed", row.failure or ""),
    )


def _runs(way: Way) -> Iterator[Step]:
    """The runs that put it all together: name, configuration, commit, flow run, MLflow run."""
    for track in way.tracks:
        logged, name = track.outputs, track.inputs.name
        experiment = logged.experiments.get("runs")
        problem = way.row_problem(track.key)
        config = way.space.runs.config(name)
        yield Step(
            "Run",
            name,
            "changed" if problem else "verified",
            (("Configuration", _flat(config or {})),),
            problem,
            logged.commit,
            logged.flow_run,
            logged.run,
            mlflow_url(experiment, logged.run) if experiment else None,
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
