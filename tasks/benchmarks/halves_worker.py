"""Worker code: hold out half of a class."""

from __future__ import annotations

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.judging.sets import by_cluster, images_of, labels_of, select_items
from royalty.tasks.benchmarks.generator_stages import HalvedOutputs, HalveInputs
from royalty.tasks.items.stored_items import keep_items, load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device


def halve(inputs: HalveInputs, context: StageContext) -> HalvedOutputs:
    """Store all items except half of one class."""
    whole = load_items(context.artifacts, inputs.items)
    labels = labels_of(whole)
    names = labels.astype(str)
    chosen = str(np.unique(labels)[0]) if inputs.label is None else inputs.label
    members = np.flatnonzero(names == chosen)
    if len(members) < 4:
        raise InputError(
            f"each half of a class needs at least two images, and class {chosen!r} has {len(members)} in all. Set "
            f"`halved` to one of {', '.join(np.unique(names))}"
        )
    if inputs.split == "random":
        ordered = np.random.default_rng(inputs.seed).permutation(members)
    else:
        features = EfficientNetLite0().to(best_device()).features(images_of(whole)[members])
        ordered = members[by_cluster(features, inputs.seed)]
    trained, held_out = (np.sort(half) for half in np.split(ordered, [len(members) // 2]))
    rest = keep_items(context.artifacts, select_items(whole, np.delete(np.arange(len(labels)), held_out)))
    return HalvedOutputs(**vars(rest), trained=trained.tolist(), held_out=held_out.tolist(), label=chosen)
