"""Trace an id along the lineage from payouts to images, and verify each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from royalty.infra.ledger.cases import Case
from royalty.infra.ledger.copies import problems_of_copy
from royalty.infra.ledger.postings import Posted
from royalty.infra.pages.trace import State, Step, Trace
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord, StageRecord
from royalty.infra.workspace import Workspace
from royalty.models.data.stored import open_set
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.credit.estimate import CREDIT, CreditOutputs
from royalty.tasks.credit.stages import CLASSIFIER, INGEST, PRUNE, TRAIN, IngestOutputs
from royalty.tasks.pay.stages import PAY, Paid
from royalty.tasks.pay.usage_stages import USAGE, USE, GenerationBehind, UsageOutputs, UseOutputs
from royalty.tasks.report.rows import readable
from royalty.tasks.report.trace_id import TraceTarget, part_of, title_of
from royalty.tasks.report.traced_lineage import TracedLineage, hashed, mlflow_url

ORDER = (
    "Payout statement",
    "Payment files",
    "Policy",
    "Payout table",
    "Report",
    "Credit and use",
    "Use of the period",
    "Credit of images",
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
"""Order of the steps by title, from payouts to images. Other titles follow, and runs come last."""

EARLIER = ("Recorded", "by an earlier version of Royalty, with fields that this version cannot show")
"""Shown in place of the content of such a row. Its digests, rows and files are verified nevertheless."""

ITEMS_NAMED = 3
"""Training images that are named behind a generated one."""

Facts = tuple[tuple[str, str], ...]


def trace_target(space: Workspace, asked: str, target: TraceTarget) -> Trace:
    """Trace a target along its lineage, and hash every artifact on it again.

    Args:
        asked: the id as the user gave it.
    """
    lineage = TracedLineage.from_target(space, target)
    steps = [*_statements(lineage), *_policies(lineage), *_artifacts(lineage), *_coalitions(lineage), *_runs(lineage)]
    position = {title: index for index, title in enumerate(ORDER)}
    # The sort is stable, so that steps of one title keep their order.
    steps.sort(key=lambda step: (step.title == "Run", position.get(step.title, len(ORDER))))
    steps = [replace(step, asked=step.id == target.id) for step in steps]
    if target.facts:
        steps.append(Step("Item", target.id, "recorded", target.facts, asked=True))
    return Trace(
        asked=asked,
        kind=target.kind,
        id=target.id,
        steps=tuple(steps),
        hashed=sum(step.state == "verified" for step in steps),
        problems=tuple(f"{step.title} {step.id[:16]}: {step.problem}" for step in steps if step.problem),
    )


def _statements(lineage: TracedLineage) -> Iterator[Step]:
    """Payout statements of the ledger, compared with the payout tables, their evidence and their copies."""
    for posted in lineage.statements:
        if posted.kind == "export":
            yield _export(lineage, posted)
            continue
        rows = [row for row in lineage.named(PAY.name) if row.inputs["table"] == posted.valuation]
        divisions = [readable(PAY, row) for row in rows]
        comparable = [division for division in divisions if division is not None]
        if posted.kind == "decision":
            problem = _decision_problem(posted, lineage.space.cases.all())
        elif posted.kind == "correction":
            problem = _correction_problem(posted, comparable, lineage.due_after(posted))
        else:
            problem = _amounts_problem(posted, comparable)
        # An unreadable row may be the division that this statement pays, so a mismatch proves nothing.
        undecided = problem is not None and None in divisions
        if problem is None or undecided:
            copies = problems_of_copy(lineage.space.root / "payouts", lineage.space.ledger, posted)
            beside = lineage.evidence_problem(posted) or next(iter(copies), None)
            problem, undecided = beside or problem, undecided and beside is None
        reversal = "" if posted.active else ", reversed by a later statement"
        money = PayoutConfig(pool=Decimal(0), currency=posted.currency).formatted
        facts = (
            ("Pool", f"{posted.pool}, statement {posted.sequence}{reversal}"),
            ("Paid", f"{money(sum(posted.paid.values()))} on {posted.created_at[:10]}"),
            *((name, money(amount)) for name, amount in posted.paid.items()),
            *((name, f"{money(amount)} on account") for name, amount in posted.accounts.items()),
        )
        if undecided:
            yield Step("Payout statement", posted.id, "recorded", (*facts, ("Payout table", EARLIER[1])))
        else:
            yield Step("Payout statement", posted.id, "changed" if problem else "verified", facts, problem)


def _decision_problem(posted: Posted, cases: Sequence[Case]) -> str | None:
    """Look for the case that decided what this statement moves; None if there is one."""
    decisions = [case.decision.body["statements"] for case in cases if case.decision is not None]
    return None if any(posted.id in ids for ids in decisions) else "no case has this decision"


def _export(lineage: TracedLineage, posted: Posted) -> Step:
    """Payment files of a statement, as they were recorded."""
    evidence = lineage.space.ledger.evidence_of(posted.evidence or "") or {}
    facts = [("Statement", str(evidence.get("statement", ""))), *evidence.get("exports", {}).items()]
    return Step("Payment files", posted.id, "recorded", (*facts, ("Written", posted.created_at[:10])))


def _amounts_problem(posted: Posted, divisions: Sequence[Paid]) -> str | None:
    """Compare a statement with the divisions of its pool by its credit table; None if one of them matches."""
    tables = [
        {name: row.held if posted.kind == "release" else row.amount for name, row in paid.outputs.settlements.items()}
        for paid in _divisions_of(posted, divisions)
    ]
    if not tables:
        return "no payout table has the amounts that this statement should pay"
    if posted.kind == "release":  # it pays the held amounts of some contributors only
        held = [{name: table.get(name) for name in posted.paid} for table in tables]
        return None if dict(posted.paid) in held else "the amounts released by the ledger differ from those held"
    return None if dict(posted.paid) in tables else "the amounts paid by the ledger differ from the payout table"


def _correction_problem(posted: Posted, divisions: Sequence[Paid], due: Mapping[str, int]) -> str | None:
    """Compare what is due to contributors after a correction with the divisions by its credit table.

    Args:
        due: minor units by contributor, if not zero.
    """
    tables = [
        {name: row.amount + row.withheld + row.held + row.account for name, row in paid.outputs.settlements.items()}
        for paid in _divisions_of(posted, divisions)
    ]
    if not tables:
        return "no payout table has the amounts that this correction should make due"
    wanted = [{name: amount for name, amount in table.items() if amount} for table in tables]
    return None if due in wanted else "the amounts due after this correction differ from the payout table"


def _divisions_of(posted: Posted, divisions: Sequence[Paid]) -> list[Paid]:
    """The divisions of the pool and period of a statement."""
    place = posted.pool, posted.period
    return [paid for paid in divisions if (paid.inputs.pool, paid.inputs.period) == place and not paid.outputs.refusal]


def _policies(lineage: TracedLineage) -> Iterator[Step]:
    for row in lineage.named(PAY.name):
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
                ("Terms", paid.inputs.terms(config).description(config.formatted)),
                *((("Use", config.use.description),) if config.use else ()),
                *((("Refused", refusal),) if refusal else ()),
            ),
        )


def _artifacts(lineage: TracedLineage) -> Iterator[Step]:
    for digest, edge in lineage.artifacts.items():
        row = lineage.stages[edge.parent]
        state, problem = hashed(lineage.space.artifacts, digest)
        problem = problem or lineage.row_problem(row.key)
        if (row.name, edge.role) == (INGEST.name, "train") and state == "verified":
            problem = problem or _images_problem(lineage.space.artifacts.path(digest), row)
        state = "changed" if problem and state == "verified" else state
        facts = (*part_of(row.name, edge.role), *_facts(row, edge.role))
        yield Step(title_of(row.name, edge.role), digest, state, facts, problem, **lineage.provenance(row.key))


def _images_problem(path: Path, row: StageRecord) -> str | None:
    """Compare the images of each contributor with the recorded digests and counts; None if they match."""
    ingested = readable(INGEST, row)
    if ingested is None:
        return None
    data = open_set(path)
    digests = [data.digest_of(index) for index in range(len(data.contributors))]
    counts = dict(zip(data.contributors, data.membership.sum(axis=0).tolist(), strict=True))
    same = digests == ingested.outputs.contributor_digests and counts == ingested.outputs.items
    return None if same else "the images of its contributors differ from those recorded"


def _facts(row: StageRecord, role: str) -> Facts:
    """Facts to show about an output of a stage."""
    try:
        match row.name, role:
            case INGEST.name, "train":
                return _image_facts(INGEST.finished(row).outputs)
            case CREDIT.name, "table":
                return _credit_facts(CREDIT.finished(row).outputs)
            case USE.name, "table":
                return _use_facts(USE.finished(row).outputs)
            case USAGE.name, "usage":
                return _usage_facts(row)
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
        *((("Licenses", _counts(data.licenses)),) if any(data.licenses) else ()),
        *((("Left out by license", _counts(data.left_out)),) if data.left_out else ()),
        *((("Refused by contributors", _counts(data.not_consented)),) if data.not_consented else ()),
    )


def _counts(licenses: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'unknown'} {count}" for name, count in licenses.items())


def _credit_facts(credit: CreditOutputs) -> Facts:
    return (
        ("Utilities", f"{credit.grand_utility:.6g} of everybody's model, {credit.null_utility:.6g} of nobody's"),
        ("Estimator", str(credit.diagnostics.get("estimator", ""))),
        ("Coalitions", f"{credit.trained} models, {len(credit.failed)} failed"),
    )


def _usage_facts(row: StageRecord) -> Facts:
    usage = USAGE.finished(row)
    return (
        ("Use", f"of {usage.inputs.model} in {usage.inputs.period}"),
        ("Generations", f"{usage.outputs.generations}, {usage.outputs.attributed} of them attributed"),
        ("Revenue", usage.outputs.revenue),
        *_log_facts(usage.outputs),
    )


def _log_facts(usage: UsageOutputs) -> Facts:
    if not usage.log_position:
        return ()
    return (("Log", f"its last row is at position {usage.log_position}, {usage.log_hash}"),)


def _use_facts(use: UseOutputs) -> Facts:
    """For each contributor, the generated images that bring most of a pool, and the training images behind them."""
    lost = ("Not attributable", f"{use.unattributed:.1%} of the revenue")
    return (lost, *((name, "; ".join(map(_behind, rows))) for name, rows in use.behind.items()))


def _behind(row: GenerationBehind) -> str:
    named = [item[:16] for item in row.items[:ITEMS_NAMED]]
    more = f" and {len(row.items) - len(named)} more" if len(row.items) > len(named) else ""
    return f"{row.part:.3%} of the pool by {row.id}" + (f", from {', '.join(named)}{more}" if named else "")


def _model_facts(parameters: int, row: StageRecord) -> Facts:
    return ("Size", f"{parameters:,} parameters"), ("Settings", _flat(row.inputs))


def _coalitions(lineage: TracedLineage) -> Iterator[Step]:
    """Coalitions: hash the checkpoint of each, and compare its row and those of its measurements with their digests."""
    measured: dict[str, list[MeasurementRecord]] = {}
    for measurement in lineage.measurements.values():
        measured.setdefault(measurement.coalition, []).append(measurement)
    for row in sorted(lineage.coalitions.values(), key=lambda row: (-len(row.members), row.members)):
        measurements = measured.get(row.key, [])
        state, problem = _checkpoint(lineage, row)
        keys = [row.key, *(measurement.key for measurement in measurements)]
        problem = problem or next(filter(None, map(lineage.row_problem, keys)), None)
        state = "changed" if problem and state == "verified" else state
        facts = _coalition_facts(row, measurements)
        yield Step("Coalition run", row.key, state, facts, problem, **lineage.provenance(row.key))


def _checkpoint(lineage: TracedLineage, row: CoalitionRecord) -> tuple[State, str | None]:
    """Hash the model of a coalition again; a failed training has no model."""
    if row.checkpoint is None:
        return "recorded", None
    return hashed(lineage.space.artifacts, row.checkpoint)


def _coalition_facts(row: CoalitionRecord, measurements: Sequence[MeasurementRecord]) -> Facts:
    return (
        ("Members", ", ".join(row.members) or "nobody"),
        ("Images", str(row.items)),
        ("Method", row.method),
        *(("Utility", f"{measurement.utility:.6g} of {measurement.property}") for measurement in measurements),
        ("Model", row.checkpoint) if row.checkpoint else ("Failed", row.failure or ""),
    )


def _runs(lineage: TracedLineage) -> Iterator[Step]:
    """Runs: name, configuration, commit, flow run and MLflow run."""
    for track in lineage.tracks:
        logged, name = track.outputs, track.inputs.name
        experiment = logged.experiments.get("runs")
        problem = lineage.row_problem(track.key)
        config = lineage.space.runs.config(name)
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
    """Format nested settings in one line, without digests."""
    parts = []
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            parts.append(_flat(inner, f"{prefix}{key}."))
        elif not (isinstance(inner, str) and len(inner) == 64):
            parts.append(f"{prefix}{key}={inner}")
    return ", ".join(filter(None, parts))
