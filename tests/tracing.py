"""A home as a run leaves it, made in milliseconds: every stage and row is there, and nothing was trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from royalty.infra.ledger.postings import Posting
from royalty.infra.settings import Settings
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.lineage import stage_edges
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord, StageRecord
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.serialization import packed_pieces
from royalty.models.data.items import ImageSet, item_id
from royalty.models.data.labelled import Items
from royalty.models.payout.division import Settlement
from royalty.models.valuation.certainty import Certainty
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.credit.estimate import CREDIT, Credited, CreditInputs, CreditOutputs, load_table
from royalty.tasks.credit.plan import CoalitionPlan, MeasurePlan
from royalty.tasks.credit.recording import coalition_edges, measurement_edges
from royalty.tasks.credit.stages import (
    CLASSIFIER,
    INGEST,
    MEASURE,
    PRUNE,
    TRAIN,
    ClassifierInputs,
    ClassifierOutputs,
    IngestInputs,
    IngestOutputs,
    MeasureInputs,
    MeasureOutputs,
    PruneInputs,
    PruneOutputs,
    TrainInputs,
    TrainOutputs,
)
from royalty.tasks.items.stages import MATCH, Matched, MatchInputs, MatchOutputs
from royalty.tasks.pay.dividing import settled
from royalty.tasks.pay.division import UNNAMED
from royalty.tasks.pay.stages import PAY, DividedPool, PayInputs, PayOutputs
from royalty.tasks.report.stages import TRACK, RunStages, TrackInputs, TrackOutputs
from royalty.tasks.stages.stage import Finished, Stage, as_json

PEOPLE = ("ann", "bob")
OWNERS = [("ann",), ("ann", "bob"), ("bob",), ("bob",), ("ann",), ("bob",)]
SHARE = Settlement(share=50_000, amount=50_000, held=0, carried=0, taken=0, claims=0, debt=0, account=0, reasons=())
CERTAINTY = Certainty(
    coalitions=2, relative_stderr=0.1, stability=None, width=0.4, excess=1.0, reached=False, needed=None
)

Inputs = TypeVar("Inputs")
Outputs = TypeVar("Outputs")


@dataclass(frozen=True)
class Home:
    """A run of two contributors: their four coalitions, credit, a payout and its statement.

    Attributes:
        plans: of everybody's and nobody's coalition, then of each contributor's.
        item: id of an image.
    """

    space: Workspace
    config: CreditConfig
    stages: RunStages
    plans: tuple[CoalitionPlan, ...]
    statement: str
    item: str


@dataclass(frozen=True)
class Recorder:
    """Records stages in a home.

    Attributes:
        lacking: fields that the rows of a stage do not have, as of an earlier version.
    """

    space: Workspace
    lacking: Mapping[str, Collection[str]]

    def finished(self, stage: Stage[Inputs, Outputs], inputs: Inputs, outputs: Outputs) -> Finished[Inputs, Outputs]:
        """A stage as if it had been run."""
        absent = self.lacking.get(stage.name, ())
        taken, made = (
            {name: value for name, value in as_json(part).items() if name not in absent} for part in (inputs, outputs)
        )
        key = digest_of({"stage": stage.name, "inputs": taken})
        row = StageRecord(stage.name, key, taken, made, 1.0)
        self.space.runs.record_stage(row, stage_edges(key, taken, made, self.space.keeps), "a-flow-run")
        return Finished(stage.name, key, inputs, outputs, 1.0, reused=False)

    def put(self, payload: str) -> str:
        """Digest of an artifact."""
        return self.space.artifacts.put(payload.encode())

    def table(self, rows: pd.DataFrame) -> str:
        return self.space.artifacts.put(rows.to_parquet(index=False))

    def items(self, items: Items) -> str:
        arrays: dict[str, Any] = {"images": items.images}
        texts = {"ids": items.ids, "labels": None, "contributors": items.contributors}
        return self.space.artifacts.put_pieces(packed_pieces(arrays, texts))


def made_up(home: Path, name: str = "may", lacking: Mapping[str, Collection[str]] = {}) -> Home:
    """A finished run.

    Args:
        lacking: see `Recorder`.
    """
    space = open_workspace(Settings(home=home))
    recorder = Recorder(space, lacking)
    config = CreditConfig(name=name)
    data = _images()
    stages, plans = _models_and_credit(recorder, config, data)
    keys = [measure.key for plan in plans for measure in plan.measures]
    space.runs.claim_name(name, config.claimed())
    runs = {plans[0].key: "e" * 32, stages.train.key: "d" * 32}
    track = recorder.finished(
        TRACK,
        TrackInputs(name, [stage.key for stage in stages.finished], keys),
        TrackOutputs("f" * 32, "c0ffee", "a-flow-run", {"runs": "1", "coalitions": "2"}, runs),
    )
    paid = Posting(valuation=stages.credit.outputs.table, currency="EUR", amounts=dict.fromkeys(PEOPLE, SHARE.amount))
    statement = space.ledger.post(name, paid)
    stages = replace(stages, track=track, pay=replace(stages.pay, statement=statement))
    return Home(space, config, stages, plans, statement, data.ids[0])


def _images() -> ImageSet:
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
    return ImageSet.merge(images, [item_id(image) for image in images], np.zeros(6, int), ["any"], OWNERS)


def _models_and_credit(
    recorder: Recorder, config: CreditConfig, data: ImageSet
) -> tuple[RunStages, tuple[CoalitionPlan, ...]]:
    """All stages before the run is logged, and the coalitions."""
    put = recorder.put
    source = IngestInputs({"source": "digits"}, seed=0, files=digest_of("a manifest"))
    ingest = recorder.finished(INGEST, source, _brought(recorder, data))
    train, judged_by = ingest.outputs.train, ingest.outputs.classifier
    classifier = recorder.finished(
        CLASSIFIER,
        ClassifierInputs(judged_by, ingest.outputs.validation, steps=100, seed=0),
        ClassifierOutputs(put("judge"), accuracy=0.9, busy_seconds=1.0),
    )
    losses = [[1.0, 0.5], [2.0, 0.25]]
    base = recorder.finished(
        TRAIN,
        TrainInputs(train, "ddpm", {}, {"steps": 60}, seed=0),
        TrainOutputs(put("base"), parameters=1000, multiply_adds=10, losses=losses, busy_seconds=1.0),
    )
    prune = recorder.finished(
        PRUNE,
        PruneInputs(train, base.outputs.model, {"ratio": 0.5}, {"steps": 5}, seed=0),
        PruneOutputs(put("pruned"), 500, 5, broken=put("broken"), removed=0.5, busy_seconds=1.0),
    )
    models = {"base": base.outputs.model, "broken": prune.outputs.broken, "pruned": prune.outputs.model}
    utilities = dict.fromkeys((*models, "real"), 1.0)
    pictures = {
        model: recorder.space.artifacts.put(data.images[place : place + 2].tobytes())
        for place, model in enumerate(models)
    }
    measure = recorder.finished(
        MEASURE,
        MeasureInputs(models, ingest.outputs.validation, classifier.outputs.classifier, judged_by, "fid", {}, seed=0),
        MeasureOutputs(utilities, utilities, dict.fromkeys(models, 0.1), pictures, [2, 1, 8, 8], busy_seconds=1.0),
    )
    start, judge = prune.outputs.model, classifier.outputs.classifier
    plans = _coalitions(recorder, config, train, start, MeasurePlan("", "fid", judge, judged_by, 8, 2, 0))
    credit = _credit(recorder, config, [measure.key for plan in plans for measure in plan.measures])
    match = _match(recorder, config, data, train)
    pay = _division(recorder, config, credit)
    return RunStages(ingest, classifier, None, base, prune, measure, credit, pay, match), plans


def _brought(recorder: Recorder, data: ImageSet) -> IngestOutputs:
    parts = {"train": data, "validation": data.take(np.arange(3)), "classifier": data.take(np.arange(2))}
    return IngestOutputs(
        **{part: recorder.space.artifacts.put(images.to_bytes()) for part, images in parts.items()},
        contributors=list(PEOPLE),
        items=dict(zip(PEOPLE, data.membership.sum(axis=0).tolist(), strict=True)),
        contributor_digests=[data.digest_of(index) for index in range(len(PEOPLE))],
        shared_items=1,
        copies=[("ann", "bob", 1)],
        near_copies=[],
        total_items=len(data),
        shape=[1, 8, 8],
        repeated_items=0,
        licenses={},
    )


def _coalitions(
    recorder: Recorder, config: CreditConfig, train: str, start: str, measured: MeasurePlan
) -> tuple[CoalitionPlan, ...]:
    """Rows of all four coalitions, with a model and a measurement each; utility is the number of members."""
    training = config.coalitions.training("sparsified", config.generator)
    plans = []
    for members in (PEOPLE, (), ("ann",), ("bob",)):
        key = digest_of({"members": members})
        measure = replace(measured, key=digest_of({"of": key}))
        plan = CoalitionPlan(key, members, train, start, "sparsified", training, 0, (measure,))
        checkpoint = recorder.put(f"model of {members}")
        row = CoalitionRecord(key, list(members), "sparsified", 0, 3 * len(members), 1.0, "cpu", checkpoint)
        recorder.space.runs.record_coalition(row, coalition_edges(plan, checkpoint))
        measurement = MeasurementRecord(measure.key, key, "fid", 0, float(len(members)), 1.0, 1.0)
        recorder.space.runs.record_measurement(measurement, measurement_edges(measure, key))
        plans.append(plan)
    return tuple(plans)


def _credit(recorder: Recorder, config: CreditConfig, measurements: list[str]) -> Credited:
    table = pd.DataFrame({"contributor": PEOPLE, "items": [3, 4], "credit": [1.0, 1.0], "stderr": [0.1, 0.1]})
    return recorder.finished(
        CREDIT,
        CreditInputs(config.credit, config.stopping, measurements, failed=digest_of([]), seed=0),
        CreditOutputs(
            table=recorder.table(table.assign(ci_low=0.8, ci_high=1.2)),
            null_utility=0.0,
            grand_utility=2.0,
            failed=[],
            trained=4,
            diagnostics={"estimator": "exact", "efficiency_gap": 0.0},
            certainty=CERTAINTY,
        ),
    )


def _match(recorder: Recorder, config: CreditConfig, data: ImageSet, train: str) -> Matched:
    """Of two generated images, each with two training images behind it."""
    items = Items.of_set(data)
    values = pd.DataFrame({"id": items.ids, "contributor": items.contributors, "value": np.arange(6.0)})
    behind = pd.DataFrame({"generated": [0, 0, 1, 1], "item": [0, 1, 2, 3], "distance": 0.5, "score": 0.25})
    diagnostics = {"effective_neighbours": 2.0, "quality_lost": 0.0, "recall": 1.0, "zero_items": 2}
    generated = Items.of_images(255 - data.images[:2])
    return recorder.finished(
        MATCH,
        MatchInputs(train, config.matching, model=recorder.put(f"model of {PEOPLE}"), images=2, sampling={}, seed=0),
        MatchOutputs(
            table=recorder.table(values),
            contributions=recorder.table(behind),
            contributors={"bob": 0.75, "ann": 0.25},
            items=len(items),
            generated=2,
            diagnostics=diagnostics,
            sides={"train": recorder.items(items), "generated": recorder.items(generated)},
            busy_seconds=1.0,
        ),
    )


def _division(recorder: Recorder, config: CreditConfig, credit: Credited) -> DividedPool:
    payout, settlements = config.payout, dict.fromkeys(PEOPLE, SHARE)
    terms = payout.model_dump(mode="json", exclude=UNNAMED)
    rows = settled(load_table(recorder.space, credit.outputs.table), payout, settlements)
    outputs = PayOutputs(None, settlements, 0, recorder.put("contributor,amount"), rows.to_dict("records"))
    paid = recorder.finished(PAY, PayInputs(credit.outputs.table, [0, 4], terms, config.name), outputs)
    return DividedPool(paid, shared_accounts=[], source=None, change=None, statement=None)
