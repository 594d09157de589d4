"""Worker code: select training items within a budget. Imports no orchestration."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch

from royalty.infra.settings import cores
from royalty.models.valuation.near_copies import near_copy_groups
from royalty.models.valuation.selection import select_items
from royalty.tasks.config.selection import SelectSettings
from royalty.tasks.items.features import represented
from royalty.tasks.items.selecting_stages import SelectInputs, SelectOutputs
from royalty.tasks.items.sides import open_sides
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device


def select(inputs: SelectInputs, context: StageContext) -> SelectOutputs:
    """Select items, and tabulate them in the order of selection."""
    torch.set_num_threads(cores())
    began, settings = time.perf_counter(), SelectSettings.model_validate(inputs.config)
    sides = open_sides(context.artifacts, inputs.sides)
    train, val = represented(context.embeddings, sides, settings.encoding.representation, inputs.sides.encoder)
    images = sides.train.images
    grouped = settings.copies == "grouped" and settings.method == "transport" and images is not None
    selected = select_items(
        train,
        sides.train_labels,
        val,
        sides.val_labels,
        settings.budget,
        method=settings.method,
        groups=near_copy_groups(images, train).groups if grouped and images is not None else None,
        label_weight=settings.label_weight,
        feature_weight=settings.feature_weight,
        seed=settings.seed,
        device=best_device(),
        progress=context.advance,
    )
    items = pd.DataFrame(sides.train.columns()).iloc[selected.rows].reset_index(drop=True)
    table = items.assign(
        rank=np.arange(1, len(items) + 1), row=selected.rows, weight=selected.weights, distance=selected.distances
    )
    return SelectOutputs(
        table=context.artifacts.put(table.to_parquet(index=False)),
        items=len(sides.train),
        selected=len(table),
        labels=None if "label" not in table else {str(k): int(v) for k, v in table["label"].value_counts().items()},
        diagnostics=selected.diagnostics,
        busy_seconds=time.perf_counter() - began,
    )
