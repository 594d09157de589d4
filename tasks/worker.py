"""What runs in a process of its own: training, pruning, and the measuring of a coalition.

Each function loads what digests name, calls the numerics, stores what comes out, and reports
progress through its last argument. Imports no orchestration.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from infra.progress import Advance
from infra.runstore import CoalitionRecord
from infra.settings import Settings
from infra.workspace import Workspace, open_workspace
from models.data.items import ImageSet
from models.generators.ddpm import DDPM, Architecture
from models.properties.classifier import Classifier
from models.properties.inception_score import inception_score
from models.pruning import prune_by_magnitude, size_of
from tasks.plan import CoalitionPlan

SHEET = 64
"""Generated images that are kept to be looked at."""


def fit_classifier(
    images: str, validation: str, steps: int, seed: int, settings: Settings, advance: Advance
) -> dict[str, Any]:
    """Train the classifier behind the utility; its accuracy, and the utility of real images, on validation."""
    space = open_workspace(settings)
    data, held_out = load_images(space, images), load_images(space, validation)
    start = time.perf_counter()
    classifier = Classifier(data.images.shape[1], len(data.label_names), seed=seed)
    classifier.fit(data.images, data.labels, steps=steps, seed=seed, progress=advance)
    return {
        "classifier": space.artifacts.put(classifier.to_bytes()),
        "accuracy": classifier.accuracy(held_out.images, held_out.labels),
        "real_utility": utility_of(held_out.images, classifier),
        "busy_seconds": time.perf_counter() - start,
    }


def fit_generator(
    train: str,
    classifier: str,
    architecture: dict[str, Any],
    training: dict[str, Any],
    sampling: dict[str, int],
    seed: int,
    settings: Settings,
    advance: Advance,
) -> dict[str, Any]:
    """Train the generator on everybody's images."""
    space = open_workspace(settings)
    images, judge = load_images(space, train).images, load_classifier(space, classifier)
    start = time.perf_counter()
    model = DDPM.build(Architecture(images.shape[-1], images.shape[1], **architecture), seed=seed).to(best_device())
    losses = model.fit(images, **training, seed=seed, progress=advance)
    described = describe(space, model, judge, sampling, seed)
    return {**described, "losses": thinned(losses), "busy_seconds": time.perf_counter() - start}


def prune_generator(
    train: str,
    base: str,
    classifier: str,
    ratio: float,
    training: dict[str, Any],
    sampling: dict[str, int],
    seed: int,
    settings: Settings,
    advance: Advance,
) -> dict[str, Any]:
    """Prune the base model, and let it recover on everybody's images."""
    space = open_workspace(settings)
    images, judge = load_images(space, train).images, load_classifier(space, classifier)
    model = DDPM.from_bytes(space.artifacts.get(base)).to(best_device())
    start = time.perf_counter()
    prune_by_magnitude(model.unet, ratio)
    broken = model.sample(sampling["images"], seed=seed, steps=sampling["steps"])
    model.fit(images, **training, seed=seed, progress=advance)
    return {
        **describe(space, model, judge, sampling, seed),
        "utility_before_recovery": utility_of(broken, judge),
        "busy_seconds": time.perf_counter() - start,
    }


def measure(plan: CoalitionPlan, settings: Settings, _advance: Advance) -> str:
    """Finetune the pruned model on a coalition's images, measure it, and record the row; returns its key.

    The null coalition has no image to learn from. Its model is the pruned architecture with random
    weights: every learned weight comes from somebody's images, so nobody's model has none.
    """
    torch.set_num_threads(plan.threads)
    space = open_workspace(settings)
    start = time.perf_counter()
    data = load_images(space, plan.train)
    mask = np.array([name in plan.members for name in data.contributors])
    items = data.of_coalition(mask)
    device = best_device()
    model = DDPM.from_bytes(space.artifacts.get(plan.pruned)).to(device)
    began = time.perf_counter()
    if plan.members:
        model.fit(
            data.images[items],
            steps=plan.finetune_steps,
            batch_size=plan.batch_size,
            learning_rate=plan.learning_rate,
            ema_decay=plan.ema_decay,
            seed=plan.seed,
        )
    else:
        model = model.untrained(seed=plan.seed)
    trained = time.perf_counter()
    images = model.sample(plan.images, seed=plan.seed, steps=plan.sampling_steps)
    sampled = time.perf_counter()
    utility = utility_of(images, load_classifier(space, plan.classifier))
    measured = time.perf_counter()
    space.runs.record_coalition(
        CoalitionRecord(
            key=plan.key,
            members=list(plan.members),
            seed=plan.seed,
            items=len(items),
            utility=utility,
            train_seconds=trained - began,
            sample_seconds=sampled - trained,
            measure_seconds=measured - sampled,
            wall_seconds=measured - start,
            device=device,
            checkpoint=space.artifacts.put(model.to_bytes()),
        )
    )
    return plan.key


def best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_images(space: Workspace, digest: str) -> ImageSet:
    return ImageSet.from_bytes(space.artifacts.get(digest))


def load_classifier(space: Workspace, digest: str) -> Classifier:
    return Classifier.from_bytes(space.artifacts.get(digest))


def utility_of(images: np.ndarray, classifier: Classifier) -> float:
    """The global model property that is credited: the Inception Score of generated images."""
    return inception_score(classifier.probabilities(images))


def describe(
    space: Workspace, model: DDPM, classifier: Classifier, sampling: dict[str, int], seed: int
) -> dict[str, Any]:
    """Store a model and some images it makes; measure its size and utility."""
    images = model.sample(sampling["images"], seed=seed, steps=sampling["steps"])
    size = size_of(model.unet)
    return {
        "model": space.artifacts.put(model.to_bytes()),
        "images": space.artifacts.put(images[:SHEET].tobytes()),
        "shape": list(images[:SHEET].shape),
        "utility": utility_of(images, classifier),
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
    }


def thinned(losses: list[float], points: int = 100) -> list[list[float]]:
    """Step and mean loss at that many points, for a curve."""
    chunks = np.array_split(np.array(losses), min(points, len(losses)))
    ends = np.cumsum([len(chunk) for chunk in chunks])
    return [[int(end), round(float(chunk.mean()), 6)] for end, chunk in zip(ends, chunks, strict=True)]
