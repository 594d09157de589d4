"""What MLflow shows of each stage of a run: a note, metrics, a curve, a model, tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from royalty.infra.workspace import Workspace
from royalty.tasks.credit.estimate import CREDIT, Credited, load_table
from royalty.tasks.credit.stages import (
    CLASSIFIER,
    INGEST,
    MEASURE,
    PIPELINE,
    PRUNE,
    TRAIN,
    Curve,
    MeasureOutputs,
    Pruned,
    Trained,
)
from royalty.tasks.items.stages import MATCH, Matched
from royalty.tasks.pay.stages import PAY
from royalty.tasks.report.stages import RunStages
from royalty.tasks.stages.publishing import SHOWN_ROWS
from royalty.tasks.stages.stage import Finished

NOTES = {
    INGEST.name: "Images with their contributors, checked, and split into training, validation and classifier images.",
    CLASSIFIER.name: "Trains the classifier that judges generated images; it never sees a training image.",
    PIPELINE.name: "Trains a small Stable Diffusion pipeline, which LoRAs are put on; nobody is credited for what it "
    "learns.",
    TRAIN.name: "Trains the base model on everybody's images. The model is under *Outputs*.",
    PRUNE.name: "Removes the channels of least weight from the base model and lets it recover: coalitions start from "
    "it.",
    MEASURE.name: "Utilities of the base model, of the pruned model before and after recovery, and of real images.",
    CREDIT.name: "Shapley credit of contributors, from the utilities of all measured coalitions.",
    PAY.name: "Divides the pool by credit, under the terms in its parameters, and posts it to the ledger.",
    MATCH.name: "Matches images that everybody's model makes with the training images behind them (GMValuator).",
}
"""What a colleague should know of each stage."""


@dataclass(frozen=True)
class Model:
    """A model that a stage made, by its name in MLflow and its digest."""

    name: str
    digest: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class StageRun:
    """What MLflow shows of a stage.

    Attributes:
        losses: step and mean loss.
        model: logged as an output; registered, if `registered`.
        tables: by file name, shown with the run of which this is a stage.
        of_run: the run shows these metrics as well.
    """

    stage: Finished[Any, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    losses: Curve = field(default_factory=list)
    model: Model | None = None
    registered: bool = False
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    of_run: bool = False

    @property
    def note(self) -> str:
        return NOTES[self.stage.name]


def stage_runs(space: Workspace, stages: RunStages) -> list[StageRun]:
    """One for each stage, in the order of the run."""
    return [
        StageRun(stages.ingest),
        StageRun(stages.classifier, {"accuracy": stages.classifier.outputs.accuracy}),
        *([StageRun(stages.pipeline, losses=stages.pipeline.outputs.losses)] if stages.pipeline else []),
        StageRun(stages.train, losses=stages.train.outputs.losses, model=_model("base", stages.train), registered=True),
        StageRun(stages.prune, {"removed": stages.prune.outputs.removed}, model=_model("pruned", stages.prune)),
        StageRun(stages.measure, _utilities(stages.measure.outputs)),
        _credit_run(space, stages.credit),
        StageRun(stages.pay.stage, tables={"payout.json": pd.DataFrame(stages.pay.outputs.rows)}),
        _match_run(space, stages.match),
    ]


def _model(name: str, stage: Trained | Pruned) -> Model:
    sizes = {"parameters": stage.outputs.parameters, "multiply_adds": stage.outputs.multiply_adds}
    return Model(name, stage.outputs.model, sizes)


def _utilities(measured: MeasureOutputs) -> dict[str, float]:
    by_kind = {
        "utility": measured.utility,
        "step_seconds": measured.step_seconds,
        "utility_stderr": measured.utility_stderr,
    }
    return {f"{kind}_{model}": value for kind, values in by_kind.items() for model, value in values.items()}


def _credit_run(space: Workspace, credit: Credited) -> StageRun:
    outputs = credit.outputs
    metrics = {"null_utility": outputs.null_utility, "grand_utility": outputs.grand_utility}
    return StageRun(
        credit,
        metrics | _numbers(outputs.diagnostics),
        tables={"credit.json": load_table(space, outputs.table)},
        of_run=True,
    )


def _match_run(space: Workspace, match: Matched) -> StageRun:
    values = load_table(space, match.outputs.table).sort_values("value", ascending=False)
    return StageRun(match, _numbers(match.outputs.diagnostics), tables={"values.json": values.head(SHOWN_ROWS)})


def _numbers(diagnostics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in diagnostics.items() if isinstance(value, float)}
