"""Resolve a run name or an id, possibly abbreviated, to a place in the lineage."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items
from royalty.models.data.listing import SEPARATOR
from royalty.models.data.stored import open_set
from royalty.tasks.credit.listed import items_of
from royalty.tasks.credit.stages import INGEST
from royalty.tasks.items.stored_items import load_items

LEAST = 8
"""Fewest digits that may abbreviate an id."""
NEAREST = 3
"""Most ids that an error message suggests."""

TITLES = {
    "credit.table": "Credit table",
    "image-credit.table": "Credit of images",
    "pay.payout": "Payout table",
    "train.model": "Base model",
    "base.files": "Pipeline under the base model",
    "prune.model": "Pruned model",
    "prune.broken": "Pruned model, before its recovery",
    "classifier.classifier": "Classifier that judges",
    "ingest.train": "Training images",
    "ingest.listed": "File names of the images",
    "ingest.validation": "Held-out images",
    "ingest.classifier": "Images of the classifier",
    "gmvaluator.table": "Values by GMValuator",
    "gmvaluator.contributions": "Training images matched with generated images",
    "gmvaluator.sides.train": "Matched training images",
    "gmvaluator.sides.generated": "Generated images",
    "memorization.table": "Generated images tested for copies",
    "value.table": "Values of items",
    "usage.usage": "Use of the period",
    "use.table": "Credit and use",
    "read-items.items": "Items of a source",
    "report.report": "Report",
    "report.contents": "Contents of the report",
    "measure.images.base": "Images made by the base model",
    "measure.images.broken": "Images made by the pruned model before its recovery",
    "measure.images.pruned": "Images made by the pruned model",
}
"""Title of each output of a stage."""

GROUPS = {
    "report.pages.": ("Pages of the report", "File"),
    "train.samples.": ("Images sampled during training", "Step"),
    "samples.images.": ("Images of nobody's and of everybody's model", "Model"),
}
"""Title of the outputs that begin like this, and what the rest of their name is."""


COLUMNS = {
    "file_name": "File",
    "source": "Listed in",
    "label": "Label",
    "text": "Caption",
    "author": "Author",
    "license": "License",
    "style": "Style",
    "date": "Date",
    "creator": "Creator",
    "training_mining": "Training and mining",
    "license_terms": "Terms of the license",
    "consent": "Consent",
    "consent_date": "Date of the consent",
    "obtained_from": "Obtained from",
}
"""Titles of the columns of a listing."""


@dataclass(frozen=True)
class TraceTarget:
    """What a trace starts from.

    Attributes:
        kind: what it is, such as `run` or `coalition run`.
        nodes: nodes of the lineage where the trace starts.
        facts: facts that no step of the trace shows.
    """

    kind: str
    id: str
    nodes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...] = ()


def identify(space: Workspace, asked: str) -> TraceTarget:
    """Resolve a run name, an id or the beginning of one.

    Raises:
        InputError: it is unknown or ambiguous; the message lists the nearest ids.
    """
    named = _named(space)
    if asked in named:
        return named[asked]
    known = {**_ids(space), **{target.id: target for target in named.values() if target.kind != "run"}}
    if asked in known:
        return known[asked]
    hexadecimal = asked.lower()
    if re.fullmatch(rf"[0-9a-f]{{{LEAST},64}}", hexadecimal):
        matches = [target for identity, target in known.items() if identity.startswith(hexadecimal)]
        matches = matches or _items(space, hexadecimal)
        if len(matches) == 1:
            return matches[0]
        if matches:
            listed = "; ".join(map(_described, matches[:NEAREST]))
            raise InputError(f"{len(matches)} ids begin with {asked!r}: {listed}. Give more digits")
    raise InputError(_unknown(space, asked, {**known, **named}))


def title_of(stage: str, role: str) -> str:
    """Title of an output of a stage."""
    output = f"{stage}.{role}"
    group = next((title for prefix, (title, _) in GROUPS.items() if output.startswith(prefix)), "")
    return group or TITLES.get(output, f"{stage}: {role}")


def part_of(stage: str, role: str) -> tuple[tuple[str, str], ...]:
    """The fact that tells an output from the others of its title, such as a step; empty if there are no others."""
    output = f"{stage}.{role}"
    return tuple(
        (what, output.removeprefix(prefix)) for prefix, (_, what) in GROUPS.items() if output.startswith(prefix)
    )


def _named(space: Workspace) -> dict[str, TraceTarget]:
    """Targets by run name and by MLflow run.

    A run name stands for the latest stage of each kind published under it. A published stage has a name among its
    inputs and an MLflow run among its outputs.
    """
    latest: dict[str, dict[tuple[str, str], str]] = {}
    targets: dict[str, TraceTarget] = {}
    for stage in space.runs.stages():
        if "name" not in stage.inputs or "run" not in stage.outputs:
            continue
        # One stage publishes several criteria under the same name, told apart by title, or by criterion in old rows.
        kind = stage.name, stage.inputs.get("title") or stage.inputs.get("criterion", "")
        latest.setdefault(stage.inputs["name"], {})[kind] = stage.key
        for key, run in {stage.key: stage.outputs["run"], **stage.outputs.get("runs", {})}.items():
            targets[run] = TraceTarget("MLflow run", run, (key,))
    return targets | {name: TraceTarget("run", name, tuple(nodes.values())) for name, nodes in latest.items()}


def _ids(space: Workspace) -> dict[str, TraceTarget]:
    """Targets by id: payout statements, and every node of the lineage."""
    stages = {stage.key: stage for stage in space.runs.stages()}
    targets = {key: TraceTarget(f"stage {stage.name!r}", key, (key,)) for key, stage in stages.items()}
    for row in space.runs.all_coalitions():
        targets[row.key] = TraceTarget("coalition run", row.key, (row.key,))
        if row.checkpoint:
            targets[row.checkpoint] = TraceTarget("model of a coalition", row.checkpoint, (row.key,))
    for edge in space.lineage.children(stages):
        targets.setdefault(
            edge.child, TraceTarget(title_of(stages[edge.parent].name, edge.role), edge.child, (edge.child,))
        )
    for posted in space.ledger.statements():
        targets[posted.id] = TraceTarget("payout statement", posted.id, (posted.valuation,))
    return targets


def _items(space: Workspace, digits: str) -> list[TraceTarget]:
    """Items whose id begins with these digits, with every image set that contains them, and what is known of them."""
    holders: dict[str, list[tuple[str, str]]] = {}
    for digest, part, items in _sets(space):
        for position, identity in enumerate(items.ids):
            if identity.startswith(digits):
                contributor = (
                    items.contributors[position].replace(SEPARATOR, ", ")
                    if items.contributors
                    else "an unknown contributor"
                )
                holders.setdefault(identity, []).append((digest, f"{part}, of {contributor}"))
    described = _described_items(space, list(holders))
    return [
        TraceTarget(
            "item",
            identity,
            tuple(dict(places)),
            (*described.get(identity, ()), *((f"Set {digest[:12]}", place) for digest, place in places)),
        )
        for identity, places in holders.items()
    ]


def _described_items(space: Workspace, ids: Sequence[str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """What the sources of the latest runs say of items, by id: title and value of each column that is filled."""
    described: dict[str, tuple[tuple[str, str], ...]] = {}
    for digest in dict.fromkeys(row.outputs.get("listed", "") for row in space.runs.stages(INGEST.name)):
        if not digest or not space.artifacts.holds(digest):
            continue
        listed = items_of(space.artifacts, digest, ids)
        for identity, row in listed.items():
            described[identity] = tuple((COLUMNS[name], value) for name, value in row.items() if value)
    return described


def _sets(space: Workspace) -> Iterator[tuple[str, str, Items]]:
    """Digest, use and items of every stored image set."""
    parts = {"train": "trained on", "validation": "held out", "classifier": "used to train the classifier"}
    ingested = space.runs.stages(INGEST.name)
    sets = {row.outputs[part]: meaning for row in ingested for part, meaning in parts.items()}
    for digest, part in sets.items():
        if space.artifacts.holds(digest):
            yield digest, part, Items.of_set(open_set(space.artifacts.verified(digest)))
    for digest in {row.outputs["items"] for row in space.runs.stages("read-items")}:
        if space.artifacts.holds(digest):
            yield digest, "read from a source", load_items(space.artifacts, digest)


def _described(target: TraceTarget) -> str:
    return f"{target.id[:16]} ({target.kind})"


def _unknown(space: Workspace, asked: str, known: dict[str, TraceTarget]) -> str:
    """Error message for an unknown id, with the ids that are nearest by prefix or spelling."""
    ranked = sorted(known, key=lambda identity: -_shared_prefix(identity, asked))
    near = [identity for identity in ranked if _shared_prefix(identity, asked) >= LEAST // 2]
    near = (near or difflib.get_close_matches(asked, known, n=NEAREST, cutoff=0.5))[:NEAREST]
    runs = sorted(identity for identity, target in known.items() if target.kind == "run")
    hint = f"runs here: {', '.join(runs) or 'none yet'}"
    if near:
        hint = "nearest: " + "; ".join(_described(known[identity]) for identity in near)
    return (
        f"nothing in {space.root} has the id {asked!r}; {hint}. Give the name of a run, or at least {LEAST} digits of "
        "the id of a payout statement, credit table, model, MLflow run or item"
    )


def _shared_prefix(identity: str, asked: str) -> int:
    """Length of the common prefix."""
    pairs = zip(identity, asked.lower(), strict=False)
    return next((index for index, (left, right) in enumerate(pairs) if left != right), min(len(identity), len(asked)))
