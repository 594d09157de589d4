"""Worker code: read and store items. Imports no orchestration, and no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.base.policy import NO_POLICY
from royalty.models.data.attributes import read_attributes
from royalty.models.data.labelled import list_items, read_items
from royalty.models.data.permission import permitted
from royalty.tasks.items.stages import ColourInputs, ItemsOutputs, LocatedSource, ReadOutputs
from royalty.tasks.items.stored_items import keep_items, load_items
from royalty.tasks.stages.context import StageContext


def read(source: LocatedSource, context: StageContext) -> ReadOutputs:
    """Read and store the items of a source, with attributes; see `royalty.models.data.attributes`."""
    path, inputs = Path(source.path), source.inputs
    attributes = read_attributes(path, inputs.attributes, needed=inputs.needed) if inputs.attributes else None
    if (inputs.policy == NO_POLICY and not inputs.withdrawn) or path.suffix == ".npz":  # features state no consent
        items = replace(read_items(path, size=inputs.size, progress=context.advance), attributes=attributes)
        items, withdrawn = items.without_withdrawn(str(path), inputs.withdrawn)
        return ReadOutputs(**vars(keep_items(context.artifacts, items)), withdrawn=withdrawn)
    listed = list_items(path)
    manifests = context.advance if inputs.policy.passes > 1 else None
    usable = permitted(listed, inputs.policy, inputs.withdrawn, progress=manifests)
    context.advance(len(listed) - len(usable.listing))
    items = read_items(path, size=inputs.size, listing=usable.listing, progress=context.advance)
    return ReadOutputs(**vars(keep_items(context.artifacts, items)), **usable.counts(inputs.policy))


def colour(inputs: ColourInputs, context: StageContext) -> ItemsOutputs:
    """Store greyscale images with three equal channels. Ids stay the same."""
    items = load_items(context.artifacts, inputs.items)
    if items.images is None:
        raise InputError("one side has images and the other features; give both as images, or both as features")
    return keep_items(context.artifacts, replace(items, images=np.repeat(items.images, 3, axis=1)))
