"""Worker code: compare images of cheap and of retrained models of the same coalitions. Imports no orchestration."""

from __future__ import annotations

import time

import numpy as np

from royalty.models.encoders.registry import build_encoder
from royalty.models.judging.fidelity import agreement, leak
from royalty.models.properties.fid import frechet_distance, gaussian
from royalty.models.valuation.coalitions import masks_of
from royalty.tasks.credit.stages import FidelityInputs, FidelityOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.loading import load_classifier, load_images, load_sampler


def compare_models(inputs: FidelityInputs, context: StageContext) -> FidelityOutputs:
    """Sample both models of each coalition from the same noise, and compare their images and utilities."""
    began = time.perf_counter()
    data, classifier = load_images(context, inputs.train), load_classifier(context, inputs.classifier)
    channels, height, width = data.images.shape[1:]
    encoder = build_encoder(
        inputs.encoder, shape=(channels, height, width), device=best_device(), weights=context.weights.locate
    )
    masks = masks_of([pair.providers for pair in inputs.pairs], data.contributors)
    distances, leaks = [], []
    for pair, mask in zip(inputs.pairs, masks, strict=True):
        models = [load_sampler(context, digest) for digest in (pair.cheap, pair.retrained)]
        made = [model.sample(inputs.images, seed=inputs.seed, **inputs.sampling) for model in models]
        features = [gaussian(encoder.features(images).astype(np.float64)) for images in made]
        distances.append(frechet_distance(*features))
        if classifier.classes > 1:
            present = np.zeros(classifier.classes, dtype=bool)
            present[data.labels[data.of_coalition(mask)]] = True
            leaks.append([leak(classifier.probabilities(images), present) for images in made])
        context.advance(1)
    found = agreement(
        np.array([pair.cheap_utility for pair in inputs.pairs]),
        np.array([pair.retrained_utility for pair in inputs.pairs]),
    )
    cheap, retrained = np.mean(leaks, axis=0).tolist() if leaks else (None, None)
    return FidelityOutputs(
        spearman=found.spearman,
        bias=found.bias,
        error=found.error,
        spread=found.spread,
        coalitions=found.coalitions,
        fid=float(np.mean(distances)),
        leak_cheap=cheap,
        leak_retrained=retrained,
        busy_seconds=time.perf_counter() - began,
    )
