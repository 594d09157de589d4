"""What runs in a process of its own: training of the classifier and the generator, and pruning.

Each function loads what digests name, calls the numerics, stores what comes out, and reports
progress through its last argument. Imports no orchestration.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import Settings
from royalty.infra.stores.checkpoints import EVERY, Checkpoint
from royalty.infra.stores.weights import WeightsStore
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.data.items import ImageSet
from royalty.models.data.stored import open_set
from royalty.models.generators.generator import Generator, Resources
from royalty.models.generators.registry import build_generator, load_generator, outline_generator
from royalty.models.generators.together import check_gpus, is_first, together
from royalty.models.properties.classifier import Classifier
from royalty.models.properties.property import Context, Property
from royalty.models.properties.registry import chosen_property
from royalty.tasks.stages.device import best_device

SHEET = 64
"""Generated images that are kept to be looked at."""


def fit_classifier(
    images: str, validation: str, steps: int, seed: int, settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Train the classifier behind the utility; its accuracy on validation images."""
    space = open_workspace(settings)
    data, held_out = load_images(space, images), load_images(space, validation)
    start = time.perf_counter()
    classifier = Classifier(data.images.shape[1], len(data.label_names), seed=seed)
    if classifier.classes > 1:  # otherwise it tells nothing apart, and nothing that is credited asks it
        classifier.fit(data.images, data.labels, steps=steps, seed=seed, progress=advance)
    return {
        "classifier": space.artifacts.put(classifier.to_bytes()),
        "accuracy": classifier.accuracy(held_out.images, held_out.labels),
        "busy_seconds": time.perf_counter() - start,
    }


def try_generator(
    train: str, kind: str, architecture: dict[str, Any], own: bool, gpus: int, settings: Settings, _advance: Advance
) -> dict[str, Any]:
    """Build a generator of these images and keep nothing of it; an outline, where its `own` base is yet to come."""
    check_gpus(gpus)
    shown = load_images(open_workspace(settings), train).shown()
    if own:
        outline_generator(kind, shown.images.shape[1:], architecture)
    else:
        build_generator(kind, shown, architecture, seed=0, resources=resources(settings))
    return {}


def fit_generator(
    train: str,
    kind: str,
    architecture: dict[str, Any],
    training: dict[str, Any],
    seed: int,
    gpus: int,
    checkpoint: str,
    settings: Settings,
    advance: Advance,
) -> dict[str, Any]:
    """Train the generator on everybody's images; a training that was killed goes on from its checkpoint.

    Args:
        gpus: processes that call this at once, and train one model together; the first of them keeps it.
    """
    check_gpus(gpus)
    with together(gpus):
        space = open_workspace(settings)
        shown = load_images(space, train).shown()
        start = time.perf_counter()
        model = build_generator(kind, shown, architecture, seed=seed, resources=resources(settings))
        keeper = Checkpoint(space.root / "checkpoints" / checkpoint, EVERY if is_first() else math.inf)
        losses = model.fit(**vars(shown), **training, seed=seed, progress=advance, keeper=keeper)
        if not is_first():
            return {}
        return {**store(space, model), "losses": thinned(losses), "busy_seconds": time.perf_counter() - start}


def prune_generator(
    train: str,
    base: str,
    pruning: dict[str, Any],
    training: dict[str, Any],
    seed: int,
    settings: Settings,
    advance: Advance,
) -> dict[str, Any]:
    """Prune the base model, and let it recover on everybody's images."""
    space = open_workspace(settings)
    shown = load_images(space, train).shown()
    model = load_model(space, base, settings)
    start = time.perf_counter()
    pruned = model.prune(images=shown.images, labels=shown.labels, **pruning, seed=seed)
    broken = space.artifacts.put(model.to_bytes())
    model.fit(**vars(shown), **training, seed=seed, progress=advance)
    return {
        **store(space, model),
        "broken": broken,
        "removed": pruned.removed,
        "busy_seconds": time.perf_counter() - start,
    }


def measure_models(
    models: dict[str, str],
    validation: str,
    judge: str,
    reference: str,
    measured: str,
    sampling: dict[str, Any],
    seed: int,
    settings: Settings,
    advance: Advance,
) -> dict[str, Any]:
    """The utility of each model and of real images, its standard errors, and some images of each model."""
    space = open_workspace(settings)
    start = time.perf_counter()
    credited = load_property(space, measured, judge, reference, settings=settings)
    utilities, errors = {"real": credited.of(load_images(space, validation).images)}, {}
    sheets, seconds = {}, {}
    count = sampling.pop("images")
    for name, digest in models.items():
        model = load_model(space, digest, settings)
        began = time.perf_counter()
        images = model.sample(count, **sampling, seed=seed)
        seconds[name] = (time.perf_counter() - began) / sampling["steps"]
        utilities[name], errors[name] = credited.measure(images, error=True)
        sheets[name] = space.artifacts.put(images[:SHEET].tobytes())
        advance(1)
    shape = list(images[:SHEET].shape)
    return {
        "utility": utilities,
        "utility_stderr": errors,
        "step_seconds": seconds,
        "images": sheets,
        "shape": shape,
        "busy_seconds": time.perf_counter() - start,
    }


def count_images(
    pruned: str,
    judge: str,
    reference: str,
    measured: str,
    sampling: dict[str, Any],
    seed: int,
    settings: Settings,
    advance: Advance,
) -> dict[str, Any]:
    """How many images of a model give a property the standard error that is asked for, by a pilot of the pruned one.

    Raises:
        InputError: see `royalty.models.properties.property.Property.images_for`.
    """
    space = open_workspace(settings)
    start = time.perf_counter()
    pilot, wanted = sampling.pop("images"), sampling.pop("stderr")
    images = load_model(space, pruned, settings).sample(pilot, **sampling, seed=seed)
    advance(1)
    credited = load_property(space, measured, judge, reference, settings=settings)
    return {"count": credited.images_for(images, wanted), "busy_seconds": time.perf_counter() - start}


def resources(settings: Settings) -> Resources:
    """What generators of this process work with."""
    return Resources(
        weights=WeightsStore(settings.weights_root).base,
        rows=open_workspace(settings).embeddings,
        device=best_device(),
    )


def load_model(space: Workspace, digest: str, settings: Settings) -> Generator:
    """The generator of a digest, of whatever kind."""
    return load_generator(space.artifacts.get(digest), resources(settings))


def load_images(space: Workspace, digest: str) -> ImageSet:
    return open_set(space.artifacts.verified(digest))


def load_classifier(space: Workspace, digest: str) -> Classifier:
    return Classifier.from_bytes(space.artifacts.get(digest))


def load_property(space: Workspace, written: str, judge: str, reference: str, *, settings: Settings) -> Property:
    """The global model property that is credited.

    Args:
        judge, reference: digests of the classifier, and of the real images that it may compare with.
    """
    context = Context(
        reference=load_images(space, reference).images,
        classifier=load_classifier(space, judge).probabilities,
        device=best_device(),
        weights=WeightsStore(settings.weights_root).locate,
    )
    return chosen_property(written).build(context)


def store(space: Workspace, model: Generator) -> dict[str, Any]:
    """Keep a model; its digest and its size."""
    size = model.size()
    return {
        "model": space.artifacts.put(model.to_bytes()),
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
    }


def thinned(losses: list[float], points: int = 100) -> list[list[float]]:
    """Step and mean loss at that many points, for a curve."""
    chunks = np.array_split(np.array(losses), min(points, len(losses)))
    ends = np.cumsum([len(chunk) for chunk in chunks])
    return [[int(end), round(float(chunk.mean()), 6)] for end, chunk in zip(ends, chunks, strict=True)]
