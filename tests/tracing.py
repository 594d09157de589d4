"""A home as a run leaves it, made in milliseconds: every stage and row is there, and nothing was trained."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from infra.keys import digest_of
from infra.lineage import stage_edges
from infra.postings import Posting
from infra.runstore import CoalitionRecord, MeasurementRecord, StageRecord
from infra.settings import Settings
from infra.workspace import Workspace, open_workspace
from models.data.items import ImageSet, item_id
from tasks.config import CreditConfig
from tasks.plan import CoalitionPlan, MeasurePlan

PEOPLE = ("ann", "bob")


@dataclass(frozen=True)
class Home:
    """Stages by name, and the statement that was posted."""

    space: Workspace
    stages: dict[str, StageRecord]
    coalitions: tuple[str, ...]
    statement: str
    item: str


def made_up(home: Path, name: str = "may") -> Home:
    """Two contributors, all four coalitions, credit and a payout."""
    space = open_workspace(Settings(home=home))
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    owners = [("ann",), ("ann", "bob"), ("bob",), ("bob",), ("ann",), ("bob",)]
    data = ImageSet.merge(images, [item_id(image) for image in images], np.zeros(6, int), ["any"], owners)
    stages: dict[str, StageRecord] = {}

    def stage(kind: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        key = digest_of({"stage": kind, "inputs": inputs})
        stages[kind] = StageRecord(kind, key, inputs, outputs, 1.0)
        space.runs.record_stage(stages[kind], stage_edges(key, inputs, outputs, space.keeps), "a-flow-run")
        return outputs

    put = space.artifacts.put
    brought = dict(zip(PEOPLE, data.membership.sum(axis=0).tolist(), strict=True))
    parts = {"train": data, "validation": data.take(np.arange(3)), "classifier": data.take(np.arange(2))}
    ingest: dict[str, Any] = {part: put(images_of.to_bytes()) for part, images_of in parts.items()}
    ingest |= {"items": brought, "total_items": 6}
    ingest |= {"contributors": list(PEOPLE), "contributor_digests": [data.digest_of(0), data.digest_of(1)]}
    stage("ingest", {"seed": 0, "files": digest_of("a manifest")}, {**ingest, "shared_items": 1})
    judge = stage("classifier", {"images": ingest["classifier"]}, {"classifier": put(b"judge"), "accuracy": 0.9})
    size = {"parameters": 1000, "multiply_adds": 10}
    base = stage("train", {"train": ingest["train"]}, {"model": put(b"base"), **size})
    pruned = stage("prune", {"train": ingest["train"], "base": base["model"]}, {"model": put(b"pruned"), **size})
    config = CreditConfig(name=name)
    training = config.coalitions.training("sparsified", config.generator)
    keys, rows = [], []
    for members in (PEOPLE, (), ("ann",), ("bob",)):
        key = digest_of({"members": members})
        measure = MeasurePlan(digest_of({"of": key}), "fid", judge["classifier"], ingest["classifier"], 8, 2, "ddim", 0)
        plan = CoalitionPlan(key, members, ingest["train"], pruned["model"], "sparsified", training, 0, (measure,))
        checkpoint = put(f"model of {members}".encode())
        row = CoalitionRecord(key, list(members), "sparsified", 0, 3 * len(members), 1.0, "cpu", checkpoint)
        space.runs.record_coalition(row, plan.edges(checkpoint))
        measured = MeasurementRecord(measure.key, key, "fid", 0, float(len(members)), 1.0, 1.0)
        space.runs.record_measurement(measured, measure.edges(key))
        keys.append(key)
        rows.append(measure.key)
    table = pd.DataFrame({"contributor": PEOPLE, "items": [3, 4], "credit": [1.0, 1.0], "stderr": [0.1, 0.1]})
    table = table.assign(ci_low=0.8, ci_high=1.2)
    stream = io.BytesIO()
    table.to_parquet(stream, index=False)
    said = {"null_utility": 0.0, "grand_utility": 2.0, "trained": 4, "failed": []}
    credit = stage(
        "credit",
        {"measurements": rows},
        {"table": put(stream.getvalue()), "diagnostics": {"efficiency_gap": 0.0}, **said},
    )
    terms = config.payout.model_dump(mode="json", exclude={"name"})
    settlements = {person: {"amount": 50_000} for person in PEOPLE}
    outputs = {"refusal": None, "settlements": settlements, "payout": put(b"contributor,amount")}
    stage("pay", {"table": credit["table"], "config": terms, "pool": name}, outputs)
    space.runs.claim_name(name, config.claimed())
    links: dict[str, Any] = {"run": "f" * 32, "commit": "c0ffee", "flow_run": "a-flow-run"}
    links |= {"experiments": {"runs": "1", "coalitions": "2"}}
    inputs = {"name": name, "stages": [record.key for record in stages.values()], "measurements": rows}
    stage("track", inputs, {**links, "runs": {keys[0]: "e" * 32, stages["train"].key: "d" * 32}})
    paid = Posting(valuation=credit["table"], currency="EUR", amounts={person: 50_000 for person in PEOPLE})
    statement = space.ledger.post(name, paid)
    return Home(space, stages, tuple(keys), statement, data.ids[0])
