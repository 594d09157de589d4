"""Worker code: properties of the training images of each contributor. Imports no orchestration."""

from __future__ import annotations

import time

from royalty.tasks.judge.stages import OwnImagesInputs, OwnImagesOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.loading import load_images, load_property


def measure_own_images(inputs: OwnImagesInputs, context: StageContext) -> OwnImagesOutputs:
    """Measure the images of each contributor as if a model had made them."""
    start, data = time.perf_counter(), load_images(context, inputs.train)
    owned = {name: data.images[data.membership[:, column]] for column, name in enumerate(data.contributors)}
    values: dict[str, dict[str, float | None]] = {}
    for name in inputs.properties:
        measured = load_property(context, name, inputs.classifier, inputs.reference)
        values[name] = {
            owner: measured.of(images) if len(images) >= measured.least else None for owner, images in owned.items()
        }
        context.advance(1)
    counts = {owner: len(images) for owner, images in owned.items()}
    return OwnImagesOutputs(counts, values, time.perf_counter() - start)
