"""Worker code: train the classifier behind the utility. Imports no orchestration."""

from __future__ import annotations

import time

from royalty.models.data.stored import open_set
from royalty.models.properties.classifier import Classifier
from royalty.tasks.credit.stages import ClassifierInputs, ClassifierOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.loading import thinned


def fit_classifier(inputs: ClassifierInputs, context: StageContext) -> ClassifierOutputs:
    """Train the classifier, and measure its accuracy on the validation images."""
    data, held_out = (open_set(context.artifacts.verified(part)) for part in (inputs.images, inputs.validation))
    start = time.perf_counter()
    classifier = Classifier(data.images.shape[1], len(data.label_names), seed=inputs.seed).to(best_device())
    losses: list[float] = []
    if classifier.classes > 1:  # with one class there is nothing to learn, and no property uses the classifier
        losses = classifier.fit(
            data.images, data.labels, steps=inputs.steps, seed=inputs.seed, progress=context.advance
        )
    return ClassifierOutputs(
        classifier=context.artifacts.put(classifier.to_bytes()),
        accuracy=float(classifier.accuracy(held_out.images, held_out.labels)),
        busy_seconds=time.perf_counter() - start,
        losses=thinned(losses),
    )
