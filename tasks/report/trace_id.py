"""What an id, or the beginning of one, stands for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items
from royalty.models.data.listing import SEPARATOR
from royalty.models.data.stored import open_set
from royalty.tasks.credit.stages import INGEST
from royalty.tasks.items.stored_items import load_items

LEAST = 8
"""Digits of an id that are enough, if no other id begins with them."""
NEAREST = 3

TITLES = {
    "credit.table": "Credit table",
    "pay.payout": "Payout table",
    "train.model": "Base model",
    "base.files": "Pipeline under the base model",
    "prune.model": "Pruned model",
    "prune.broken": "Pruned model, before its recovery",
    "classifier.classifier": "Classifier that judges",
    "ingest.train": "Training images",
    "ingest.validation": "Held-out images",
    "ingest.classifier": "Images of the classifier",
    "gmvaluator.table": "Values by GMValuator",
    "gmvaluator.contributions": "What stands behind generated images",
    "gmvaluator.sides.train": "Matched training images",
    "gmvaluator.sides.generated": "Generated images",
    "value.table": "Values of items",
    "read-items.items": "Items of a source",
    "report.report": "Report",
}


@dataclass(frozen=True)
class Found:
    """What was asked for.

    Attributes:
        nodes: of the lineage, where the walk starts.
        facts: what there is to say about it that no step does.
    """

    kind: str
    id: str
    nodes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...] = ()


def identify(space: Workspace, asked: str) -> Found:
    """What a run name, an id or the beginning of one stands for.

    Raises:
        InputError: nothing, or several things; says which come nearest.
    """
    named = _named(space)
    if asked in named:
        return named[asked]
    known = {**_ids(space), **{found.id: found for found in named.values() if found.kind != "run"}}
    if asked in known:
        return known[asked]
    hexadecimal = asked.lower()
    if re.fullmatch(rf"[0-9a-f]{{{LEAST},64}}", hexadecimal):
        matches = [found for identity, found in known.items() if identity.startswith(hexadecimal)]
        matches = matches or _items(space, hexadecimal)
        if len(matches) == 1:
            return matches[0]
        if matches:
            shown = "; ".join(map(_shown, matches[:NEAREST]))
            raise InputError(f"{len(matches)} ids begin with {asked!r}: {shown}. Give more of its digits")
    raise InputError(_unknown(space, asked, {**known, **named}))


def title_of(stage: str, role: str) -> str:
    """What the output of a stage is called."""
    if stage == "measure":
        return f"Images made by the {role.rpartition('.')[2]} model"
    return TITLES.get(f"{stage}.{role}", f"{stage}: {role}")


def _named(space: Workspace) -> dict[str, Found]:
    """By run name, the latest of each kind that was published under it; by MLflow run, what it shows.

    A stage is published if it was given a name and left an MLflow run.
    """
    latest: dict[str, dict[tuple[str, str], str]] = {}
    found: dict[str, Found] = {}
    for stage in space.runs.stages():
        if "name" not in stage.inputs or "run" not in stage.outputs:
            continue
        kind = stage.name, stage.inputs.get("criterion", "")
        latest.setdefault(stage.inputs["name"], {})[kind] = stage.key
        for key, run in {stage.key: stage.outputs["run"], **stage.outputs.get("runs", {})}.items():
            found[run] = Found("MLflow run", run, (key,))
    return found | {name: Found("run", name, tuple(nodes.values())) for name, nodes in latest.items()}


def _ids(space: Workspace) -> dict[str, Found]:
    """Statements, and every node of the lineage."""
    stages = {stage.key: stage for stage in space.runs.stages()}
    found = {key: Found(f"stage {stage.name!r}", key, (key,)) for key, stage in stages.items()}
    for row in space.runs.all_coalitions():
        found[row.key] = Found("coalition run", row.key, (row.key,))
        if row.checkpoint:
            found[row.checkpoint] = Found("model of a coalition", row.checkpoint, (row.key,))
    for edge in space.lineage.children(stages):
        found.setdefault(edge.child, Found(title_of(stages[edge.parent].name, edge.role), edge.child, (edge.child,)))
    for posted in space.ledger.statements():
        found[posted.id] = Found("payout statement", posted.id, (posted.valuation,))
    return found


def _items(space: Workspace, digits: str) -> list[Found]:
    """Items whose id begins so, with every set that holds one."""
    holders: dict[str, list[tuple[str, str]]] = {}
    for digest, part, items in _sets(space):
        for position, identity in enumerate(items.ids):
            if identity.startswith(digits):
                owner = items.contributors[position].replace(SEPARATOR, ", ") if items.contributors else "nobody named"
                holders.setdefault(identity, []).append((digest, f"{part}, of {owner}"))
    return [
        Found("item", identity, tuple(dict(places)), tuple((f"Set {digest[:12]}", place) for digest, place in places))
        for identity, places in holders.items()
    ]


def _sets(space: Workspace) -> Iterator[tuple[str, str, Items]]:
    """Digest, part and items of every set of images that is kept."""
    parts = {"train": "trained on", "validation": "held out", "classifier": "taught the classifier"}
    ingested = space.runs.stages(INGEST.name)
    sets = {row.outputs[part]: meaning for row in ingested for part, meaning in parts.items()}
    for digest, part in sets.items():
        if space.artifacts.path(digest).exists():
            yield digest, part, Items.of_set(open_set(space.artifacts.verified(digest)))
    for digest in {row.outputs["items"] for row in space.runs.stages("read-items")}:
        if space.artifacts.path(digest).exists():
            yield digest, "read from a source", load_items(space.artifacts, digest)


def _shown(found: Found) -> str:
    return f"{found.id[:16]} ({found.kind})"


def _unknown(space: Workspace, asked: str, known: dict[str, Found]) -> str:
    """Nothing is called so: what comes nearest, by its beginning or its spelling."""
    alike = sorted(known, key=lambda identity: -_shared(identity, asked))
    near = [identity for identity in alike if _shared(identity, asked) >= LEAST // 2]
    near = (near or difflib.get_close_matches(asked, known, n=NEAREST, cutoff=0.5))[:NEAREST]
    runs = sorted(identity for identity, found in known.items() if found.kind == "run")
    hint = f"runs here: {', '.join(runs) or 'none yet'}"
    if near:
        hint = "nearest: " + "; ".join(_shown(known[identity]) for identity in near)
    return (
        f"nothing in {space.root} has the id {asked!r}; {hint}. Give the name of a run, or {LEAST} or more digits of "
        "the id of a payout statement, credit table, model, MLflow run or item"
    )


def _shared(identity: str, asked: str) -> int:
    """How many characters both begin with."""
    pairs = zip(identity, asked.lower(), strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(identity), len(asked)))
