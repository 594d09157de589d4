"""Worker code: test whether generated images are copies of training images. Imports no orchestration."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch

from royalty.infra.settings import cores
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items
from royalty.models.judging.memorization import Memorization, memorization_test
from royalty.models.valuation.centring import centred
from royalty.models.valuation.copies import earliest_members
from royalty.models.valuation.near_copies import near_copy_groups
from royalty.tasks.config.memorization import MemorizationTest
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
    train, generated = (features_of(context.embeddings, side, inputs.encoder) for side in (items, made))
    unseen = None if held_out is None else features_of(context.embeddings, held_out, inputs.encoder)
    found, first = tested(items, train, generated, unseen, inputs.test)
    context.advance(len(made))
    return MemorizationOutputs(
        table=artifacts.put(_table(items, made, found).to_parquet(index=False)),
        generated=len(made),
        flagged=int(found.flagged.sum()),
        compared=round(1 / found.smallest) - 1,
        smallest=found.smallest,
        copies=len(items) - len(first),
        busy_seconds=time.perf_counter() - began,
    )


def tested(
    items: Items, train: np.ndarray, generated: np.ndarray, held_out: np.ndarray | None, test: MemorizationTest
) -> tuple[Memorization, np.ndarray]:
    """The test on the earliest of all near copies, and the rows of these; `nearest` has rows of all items.

    Args:
        train, generated, held_out: features.
    """
    if items.images is None:
        raise InputError("copies are looked for among images, and features are given; give images")
    first = earliest_members(near_copy_groups(items.images, train).groups, days_of(items))
    others = generated if held_out is None else np.concatenate([generated, held_out])
    kept, centred_others = centred(train[first], others)
    made = centred_others[: len(generated)]
    unseen = None if held_out is None else centred_others[len(generated) :]
    found = memorization_test(kept, made, unseen, rate=test.rate, neighbours=test.neighbours)
    return Memorization(first[found.nearest], found.closeness, found.p_values, found.flagged, found.smallest), first


def _table(items: Items, made: Items, found: Memorization) -> pd.DataFrame:
    columns = {
        "generated_id": made.ids,
        "generated_file_name": made.file_names,
        "nearest": found.nearest,
        "nearest_id": np.array(items.ids)[found.nearest],
        "nearest_file_name": None if items.file_names is None else np.array(items.file_names)[found.nearest],
        "nearest_contributor": None if items.contributors is None else np.array(items.contributors)[found.nearest],
        "closeness": found.closeness,
        "p": found.p_values,
        "flagged": found.flagged,
    }
    return pd.DataFrame({name: values for name, values in columns.items() if values is not None})
