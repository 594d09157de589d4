"""Worker code: value all items in one process. Imports no orchestration."""

from __future__ import annotations

import time
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import torch

from royalty.infra.settings import cores
from royalty.models.base.errors import InputError
from royalty.models.valuation.items import ItemValues
from royalty.models.valuation.knn_shapley import knn_shapley_values
from royalty.models.valuation.lava import lava_values
from royalty.models.valuation.perturbation import perturbed_distances, spread_by_value
from royalty.tasks.config.values import ValueSettings
from royalty.tasks.items.features import represented
from royalty.tasks.items.sides import OpenSides, keep_values, open_sides
from royalty.tasks.items.stages import ValueInputs, ValueOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device


def value(inputs: ValueInputs, context: StageContext) -> ValueOutputs:
    """Value all items by LAVA or KNN-Shapley."""
    torch.set_num_threads(cores())
    began, settings = time.perf_counter(), ValueSettings.model_validate(inputs.config)
    sides = open_sides(context.artifacts, inputs.sides, unseen_label=settings.unseen_label)
    train, val = represented(context.embeddings, sides, settings.encoding.representation, inputs.sides.encoder)
    if settings.method == "knn-shapley":
        if sides.train_labels is None or sides.val_labels is None:
            raise InputError("KNN-Shapley needs labels, and the items have none; use `lava` or `sava`")
        values = knn_shapley_values(train, sides.train_labels, val, sides.val_labels, k=settings.valuing.neighbours)
    else:
        values = lava_values(
            train,
            sides.train_labels,
            val,
            sides.val_labels,
            **asdict(settings.valuing.options),
            device=torch.device(best_device()),
        )
    context.advance(1)
    by_transport = settings.method != "knn-shapley"
    table = ""
    if by_transport and settings.valuing.perturbed:
        values, rows = _perturbed(settings, sides, (train, val), values)
        table = context.artifacts.put(rows.to_parquet(index=False))
    kept = keep_values(context.artifacts, sides, values, time.perf_counter() - began, by_transport=by_transport)
    return replace(kept, perturbed_table=table)


def _perturbed(
    settings: ValueSettings, sides: OpenSides, features: tuple[np.ndarray, np.ndarray], values: ItemValues
) -> tuple[ItemValues, pd.DataFrame]:
    """Values with the median radius among the diagnostics; and predicted and actual changes, a row for each item and
    change of its mass."""
    items, valuing = spread_by_value(values.values, settings.valuing.perturbed), settings.valuing
    found = perturbed_distances(
        features[0],
        sides.train_labels,
        features[1],
        sides.val_labels,
        items,
        label_weight=valuing.label_weight,
        feature_weight=valuing.feature_weight,
        epsilon=valuing.epsilon,
        max_iterations=valuing.max_iterations,
        device=best_device(),
    )
    changes = len(found.fractions)
    rows = np.flatnonzero(sides.known)[items]
    table = pd.DataFrame(sides.train.columns()).iloc[rows.repeat(changes)].reset_index(drop=True)
    table = table.assign(
        value=values.values[items].repeat(changes),
        fraction=np.tile(found.fractions, len(items)),
        predicted=found.predicted.ravel(),
        actual=found.actual.ravel(),
        error=found.error.ravel(),
        radius=found.radius.repeat(changes),
    )
    median = {"perturbation_radius": float(np.median(found.radius))}
    return replace(values, diagnostics={**values.diagnostics, **median}), table
