"""MLflow's entities, made from records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from royalty.infra.tracking.records import DatasetRecord, Period

DIGEST = 32
"""Characters of a digest that MLflow shows; it stores at most 36."""


def milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def dataset_input(dataset: DatasetRecord) -> DatasetInput:
    source = json.dumps({"digest": dataset.digest})
    entity = Dataset(dataset.name, dataset.digest[:DIGEST], "local", source, profile=json.dumps(dict(dataset.profile)))
    return DatasetInput(entity, [InputTag(MLFLOW_DATASET_CONTEXT, dataset.context)])


def metrics_of(
    values: Mapping[str, float], at: float, *, model: str | None = None, dataset: DatasetRecord | None = None
) -> list[Metric]:
    """Metrics without a step.

    Args:
        at: when they were measured, in seconds since the epoch.
        model: MLflow's ID of the logged model that they describe.
        dataset: the data that they were measured on. MLflow stores it with metrics of a logged model only.
    """
    about = _about(model, dataset)
    return [Metric(key, float(value), milliseconds(at), 0, **about) for key, value in values.items()]


def curve_of(
    name: str,
    points: Sequence[Sequence[float]],
    period: Period,
    *,
    model: str | None = None,
    dataset: DatasetRecord | None = None,
) -> list[Metric]:
    """A metric over steps. Its times divide the period evenly, as the steps of a training do.

    Args:
        model, dataset: see `metrics_of`. They are attached to the last point only: the page of a logged model lists
            each value that names it, and should list the final one.
    """
    if not points:
        return []
    seconds, last = period.ended - period.started, points[-1][0]
    about = _about(model, dataset)
    return [
        Metric(
            name,
            float(value),
            milliseconds(period.started + seconds * step / last),
            int(step),
            **(about if step == last else {}),
        )
        for step, value in points
    ]


def _about(model: str | None, dataset: DatasetRecord | None) -> dict[str, Any]:
    name, digest = (dataset.name, dataset.digest[:DIGEST]) if dataset else (None, None)
    return {"model_id": model, "dataset_name": name, "dataset_digest": digest}
