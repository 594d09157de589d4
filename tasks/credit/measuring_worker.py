"""Worker code: sample models, and measure a property of their images. Imports no orchestration."""

from __future__ import annotations

import time

from royalty.tasks.credit.stages import ImageCountInputs, ImageCountOutputs, MeasureInputs, MeasureOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.loading import load_images, load_model, load_property

SHEET = 64
"""Number of generated images of each model that are stored for the report."""


def measure_models(inputs: MeasureInputs, context: StageContext) -> MeasureOutputs:
    """Measure the utility of each model and of real images, and store some images of each model."""
    start = time.perf_counter()
    credited = load_property(context, inputs.property, inputs.classifier, inputs.reference)
    utility = {"real": float(credited.of(load_images(context, inputs.validation).images))}
    errors, sheets, seconds = {}, {}, {}
    sampling = dict(inputs.sampling)
    count, shape = sampling.pop("images"), [0]
    for name, digest in inputs.models.items():
        model = load_model(context, digest)
        began = time.perf_counter()
        images = model.sample(count, **sampling, seed=inputs.seed)
        seconds[name] = (time.perf_counter() - began) / sampling["steps"]
        value, error = credited.measure(images, error=True)
        utility[name], errors[name] = float(value), float(error)
        sheets[name] = context.artifacts.put(images[:SHEET].tobytes())
        shape = list(images[:SHEET].shape)
        context.advance(1)
    return MeasureOutputs(utility, errors, seconds, sheets, shape, time.perf_counter() - start)


def count_images(inputs: ImageCountInputs, context: StageContext) -> ImageCountOutputs:
    """Estimate how many images give the property the requested standard error, from a pilot of the pruned model.

    Raises:
        InputError: see `royalty.models.properties.property.Property.images_for`.
    """
    start = time.perf_counter()
    sampling = dict(inputs.sampling)
    pilot, target = sampling.pop("images"), sampling.pop("stderr")
    images = load_model(context, inputs.pruned).sample(pilot, **sampling, seed=inputs.seed)
    context.advance(1)
    credited = load_property(context, inputs.property, inputs.classifier, inputs.reference)
    return ImageCountOutputs(int(credited.images_for(images, target)), time.perf_counter() - start)
