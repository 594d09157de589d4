"""Worker code: test whether generated images are copies of training images. Imports no orchestration."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from royalty.infra.settings import cores
from royalty.models.data.labelled import Items
from royalty.models.judging.memorization import Memorization, memorization_test, views_of
from royalty.models.judging.sets import images_of
from royalty.models.valuation.copies import earliest_members
from royalty.models.valuation.near_copies import near_copy_groups
from royalty.tasks.items.days import days_of
from royalty.tasks.items.embeddings import features_of
from royalty.tasks.items.memorization_stages import MemorizationInputs, MemorizationOutputs
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import StageContext


def memorization(inputs: MemorizationInputs, context: StageContext) -> MemorizationOutputs:
    """Test all generated images, and tabulate them."""
    torch.set_num_threads(cores())
    began, artifacts = time.perf_counter(), context.artifacts
    items, made = load_items(artifacts, inputs.train), load_items(artifacts, inputs.generated)
    held_out = load_items(artifacts, inputs.held_out) if inputs.held_out else None
    train = features_of(context.embeddings, items, inputs.encoder)
    first = earliest_members(near_copy_groups(images_of(items), train).groups, days_of(items))
    sides = [(train[first], images_of(items)[first])]
    for side in (made, *([] if held_out is None else [held_out])):
        sides.append((features_of(context.embeddings, side, inputs.encoder), images_of(side)))
    found = memorization_test(*views_of(*sides), rate=inputs.test.rate, neighbours=inputs.test.neighbours)
    found = replace(found, nearest=first[found.nearest])
    context.advance(len(made))
    return MemorizationOutputs(
        table=artifacts.put(_table(items, made, found, inputs.test.encoder).to_parquet(index=False)),
        generated=len(made),
        flagged=int(found.flagged.sum()),
        compared=round(1 / found.smallest) - 1,
        smallest=found.smallest,
        copies=len(items) - len(first),
        busy_seconds=time.perf_counter() - began,
    )


def _table(items: Items, made: Items, found: Memorization, encoder: str) -> pd.DataFrame:
    columns = {
        "generated_id": made.ids,
        "generated_file_name": made.file_names,
        "nearest": found.nearest,
        "nearest_id": np.array(items.ids)[found.nearest],
        "nearest_file_name": None if items.file_names is None else np.array(items.file_names)[found.nearest],
        "nearest_contributor": None if items.contributors is None else np.array(items.contributors)[found.nearest],
        "closeness": found.closeness,
        "closest_by": np.array([encoder, "pixels"])[found.view],
        "p": found.p_values,
        "flagged": found.flagged,
    }
    return pd.DataFrame({name: values for name, values in columns.items() if values is not None})
