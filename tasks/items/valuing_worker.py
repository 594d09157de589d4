"""Worker code: value all items in one process. Imports no orchestration."""

from __future__ import annotations

import time
from dataclasses import asdict

import torch

from royalty.infra.settings import cores
from royalty.models.base.errors import InputError
from royalty.models.valuation.knn_shapley import knn_shapley_values
from royalty.models.valuation.lava import lava_values
from royalty.tasks.config.values import ValueSettings
from royalty.tasks.items.features import represented
from royalty.tasks.items.sides import keep_values, open_sides
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
    return keep_values(context.artifacts, sides, values, time.perf_counter() - began, by_transport=by_transport)
