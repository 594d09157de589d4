"""Worker code: measure the distance of two sets of items. Imports no orchestration."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import torch

from royalty.infra.settings import cores
from royalty.models.data.labelled import Items
from royalty.models.valuation.items import contributor_values
from royalty.models.valuation.set_distance import set_distance
from royalty.tasks.config.distance import DistanceSettings
from royalty.tasks.items.distance_stages import DistanceInputs, DistanceOutputs
from royalty.tasks.items.features import represented
from royalty.tasks.items.sides import open_sides
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device


def measure(inputs: DistanceInputs, context: StageContext) -> DistanceOutputs:
    """Measure the distance, and the part of each item of the first set in it."""
    torch.set_num_threads(cores())
    began, settings = time.perf_counter(), DistanceSettings.model_validate(inputs.config)
    sides = open_sides(context.artifacts, inputs.sides)
    representation = settings.encoding.representation
    first, second = represented(context.embeddings, sides, representation, inputs.sides.encoder)
    measured = set_distance(
        first,
        sides.train_labels,
        second,
        sides.val_labels,
        device=best_device(),
        **settings.model_dump(exclude={"encoding"}),
    )
    context.advance(1)
    table = pd.DataFrame({**sides.train.columns(), "part": measured.parts})
    return DistanceOutputs(
        distance=measured.distance,
        chance=measured.chance,
        typical=measured.typical,
        share=measured.share,
        items=len(table),
        table=context.artifacts.put(table.to_parquet(index=False)),
        contributors=by_contributor(sides.train, measured.parts),
        diagnostics=measured.diagnostics,
        busy_seconds=time.perf_counter() - began,
    )


def by_contributor(items: Items, parts: np.ndarray) -> list[dict[str, Any]] | None:
    """The share of the items and the part of each contributor, highest part for its share first.

    An item of several contributors counts equally for each of them.
    """
    if items.contributors is None:
        return None
    shares = contributor_values(np.full(len(parts), 1 / len(parts)), items.contributors)
    of_each = contributor_values(parts, items.contributors)
    rows = [{"contributor": name, "items": shares[name], "part": of_each[name]} for name in shares]
    return sorted(rows, key=lambda row: -row["part"] / row["items"])
