"""Worker code: draw training sets, and plant noise."""

from __future__ import annotations

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.corruptions import add_noise
from royalty.models.data.items import item_id
from royalty.models.data.labelled import Items
from royalty.models.data.mnist import mnist_digits
from royalty.models.judging.sets import images_of, labels_of, select_items, stratified_order
from royalty.tasks.benchmarks.generator_stages import (
    DrawInputs,
    PlantedOutputs,
    PlantInputs,
)
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.items.stored_items import keep_items, load_items
from royalty.tasks.stages.context import StageContext


def draw(inputs: DrawInputs, context: StageContext) -> ItemsOutputs:
    """Draw labelled images from a source, the same fraction of each class.

    Images with attributes need no labels; they all count as one class.
    """
    whole = load_items(context.artifacts, inputs.source) if inputs.source else _digits()
    images = images_of(whole)
    labels = labels_of(whole) if whole.attributes is None else np.zeros(len(images))
    if inputs.items is None:
        return keep_items(context.artifacts, whole)
    if inputs.items > len(labels):
        raise InputError(
            f"`items` is at most the number of images of the source, {len(labels)}; got {inputs.items}. Lower it"
        )
    return keep_items(
        context.artifacts, select_items(whole, np.sort(stratified_order(labels, inputs.seed)[: inputs.items]))
    )


def plant(inputs: PlantInputs, context: StageContext) -> PlantedOutputs:
    """Add noise to some of the items, and store all."""
    whole = load_items(context.artifacts, inputs.items)
    images, labels = images_of(whole), labels_of(whole)
    noisy = add_noise(images, np.unique(labels, return_inverse=True)[1], share=inputs.share, seed=inputs.seed)
    planted = np.flatnonzero(noisy.planted).tolist()
    ids = list(whole.ids)
    for row in planted:
        ids[row] = item_id(noisy.images[row])
    kept = keep_items(context.artifacts, Items(tuple(ids), noisy.images, None, labels, None))
    return PlantedOutputs(**vars(kept), planted=planted)


def _digits() -> Items:
    images, labels = mnist_digits()
    return Items(tuple(item_id(image[0]) for image in images), images, None, labels, None)
