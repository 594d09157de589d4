"""Worker code: images by the models of two coalitions, for people to look at. Imports no orchestration."""

from __future__ import annotations

import time

import numpy as np

from royalty.tasks.credit.stages import SampleInputs, SampleOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.loading import load_classifier, load_sampler


def sample_models(inputs: SampleInputs, context: StageContext) -> SampleOutputs:
    """Sample each model from the same initial noise."""
    start, digests, shape = time.perf_counter(), {}, [0]
    legible: dict[str, float] = {}
    classifier = load_classifier(context, inputs.classifier) if inputs.classes else None
    for name, digest in inputs.models.items():
        images = load_sampler(context, digest).sample(inputs.images, seed=inputs.seed, **inputs.sampling)
        digests[name] = context.artifacts.put(images.tobytes())
        shape = list(images.shape)
        if classifier is not None:
            legible[name] = classifier.accuracy(images, np.arange(len(images)) % inputs.classes)
        context.advance(1)
    return SampleOutputs(digests, shape, time.perf_counter() - start, legible)
