"""Worker code: train classifiers, and find classes and attributes of generated images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from royalty.infra.settings import cores
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items
from royalty.models.judging.sets import attributes_of, images_of, labels_of, select_items, stratified_order
from royalty.models.properties.classifier import Classifier
from royalty.tasks.benchmarks.generator_stages import (
    ClassifyInputs,
    FindAttributesInputs,
    ImageClassifierInputs,
    ImageClassifierOutputs,
)
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.items.stored_items import keep_items, load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device

HELD_OUT = 0.2
"""Fraction of the labelled images that is held out to measure the accuracy of the classifier."""


def fit_classifier(inputs: ImageClassifierInputs, context: StageContext) -> ImageClassifierOutputs:
    """Train a classifier on four fifths of the images, and measure its accuracy on the others."""
    torch.set_num_threads(cores())
    whole, attribute = load_items(context.artifacts, inputs.items), inputs.attribute
    images, labels = images_of(whole), attributes_of(whole)[attribute] if attribute else labels_of(whole)
    names, targets = np.unique(labels, return_inverse=True)
    if attribute and len(names) < 2:
        raise InputError(
            f"{'all' if names[0] else 'no'} training images have the attribute {attribute!r}, so no classifier can "
            "learn it; leave it out"
        )
    order = stratified_order(targets, inputs.seed)
    held_out, trained = np.split(order, [round(HELD_OUT * len(targets))])
    classifier = Classifier(images.shape[1], len(names), seed=inputs.seed).to(best_device())
    classifier.fit(images[trained], targets[trained], steps=inputs.steps, seed=inputs.seed, progress=context.advance)
    accuracy = float(classifier.accuracy(images[held_out], targets[held_out]))
    return ImageClassifierOutputs(context.artifacts.put(classifier.to_bytes()), accuracy)


def classify(inputs: ClassifyInputs, context: StageContext) -> ItemsOutputs:
    """Store generated images with the classes that a classifier predicts, those of which it is sure."""
    made = load_items(context.artifacts, inputs.made)
    images, names = images_of(made), np.unique(labels_of(load_items(context.artifacts, inputs.items)))
    probabilities = _classifier(context, inputs.classifier).probabilities(images)
    sure = np.flatnonzero(probabilities.max(axis=1) >= (inputs.confident or 0))
    if not len(sure):
        raise InputError(
            f"generated images are judged if the probability of their class is at least `confident`, "
            f"{inputs.confident:g}, and of {len(images)} images the highest is {probabilities.max():.2f}; lower it, or "
            "train the generator longer"
        )
    classes = probabilities.argmax(axis=1)
    return keep_items(context.artifacts, select_items(Items(made.ids, images, None, names[classes], None), sure))


def find_attributes(inputs: FindAttributesInputs, context: StageContext) -> ItemsOutputs:
    """Store generated images with attributes, each predicted by its own classifier."""
    made = load_items(context.artifacts, inputs.made)
    images = images_of(made)
    attributes = {
        name: _classifier(context, digest).probabilities(images).argmax(axis=1) == 1
        for name, digest in inputs.classifiers.items()
    }
    return keep_items(context.artifacts, replace(made, attributes=attributes))


def _classifier(context: StageContext, digest: str) -> Classifier:
    return Classifier.from_bytes(context.artifacts.get(digest)).to(best_device())
