"""Load models, images and properties by their digests in a worker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from royalty.models.data.items import ImageSet
from royalty.models.data.stored import open_set
from royalty.models.generators.amortized import Conditioned, Told
from royalty.models.generators.generator import Generator, Resources, Sampler
from royalty.models.generators.mixture import Mixture
from royalty.models.generators.registry import load_generator
from royalty.models.properties.classifier import Classifier
from royalty.models.properties.property import Context, Property
from royalty.models.properties.registry import chosen_property
from royalty.tasks.stages.context import Stores
from royalty.tasks.stages.device import best_device


def resources(stores: Stores) -> Resources:
    """Resources that generators use in this process."""
    return Resources(weights=stores.weights.base, rows=stores.embeddings, device=best_device())


def load_model(stores: Stores, digest: str) -> Generator:
    """Load a generator of any kind."""
    return load_generator(stores.artifacts.get(digest), resources(stores))


def load_sampler(stores: Stores, digest: str) -> Sampler:
    """Load the model of a coalition: a generator, a mixture of stored ones, or one that is told the coalition."""
    payload = stores.artifacts.get(digest)
    if Mixture.is_saved_in(payload):
        return Mixture.from_bytes(payload, lambda part: load_model(stores, part))
    if Told.is_saved_in(payload):
        return Told.from_bytes(payload, lambda whole: load_conditioned(stores, whole))
    return load_generator(payload, resources(stores))


def load_conditioned(stores: Stores, digest: str) -> Conditioned:
    """Load a model that is told coalitions."""
    return Conditioned.from_bytes(stores.artifacts.get(digest), lambda saved: load_generator(saved, resources(stores)))


def load_images(stores: Stores, digest: str) -> ImageSet:
    """Load an image set. Images are memory-mapped."""
    return open_set(stores.artifacts.verified(digest))


def load_classifier(stores: Stores, digest: str) -> Classifier:
    """Load the classifier behind a utility, on the best device."""
    return Classifier.from_bytes(stores.artifacts.get(digest)).to(best_device())


def load_property(stores: Stores, name: str, judge: str, reference: str) -> Property:
    """Build the global model property that is credited.

    Args:
        name: name of the property, as in the configuration.
        judge, reference: digests of the classifier, and of the real images that the property may compare with.
    """
    context = Context(
        reference=load_images(stores, reference).images,
        classifier=load_classifier(stores, judge).probabilities,
        device=best_device(),
        weights=stores.weights.locate,
    )
    return chosen_property(name).build(context)


def thinned(losses: Sequence[float], points: int = 100) -> list[list[float]]:
    """Average a loss curve to at most `points` pairs of step and mean loss."""
    if not losses:
        return []
    chunks = np.array_split(np.array(losses), min(points, len(losses)))
    ends = np.cumsum([len(chunk) for chunk in chunks])
    return [[int(end), round(float(chunk.mean()), 6)] for end, chunk in zip(ends, chunks, strict=True)]
