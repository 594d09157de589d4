"""Train the classifier behind the utility, and the generator on everybody's images."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.progress import progress
from infra.runstore import StageRecord
from infra.workspace import Workspace
from tasks.config import ClassifierConfig, GeneratorConfig, SamplingConfig
from tasks.measure import best_device, load_classifier, load_images, utility_of
from tasks.stage import run_stage


@task(cache_policy=NO_CACHE)
def train_classifier(data: StageRecord, config: ClassifierConfig, seed: int) -> StageRecord:
    """Digest of the classifier, its accuracy on validation images, and their Inception Score."""
    inputs = {
        "config": config.model_dump(),
        "classifier": data.outputs["classifier"],
        "validation": data.outputs["validation"],
        "seed": seed,
    }

    def compute(space: Workspace) -> dict[str, Any]:
        from models.properties.classifier import Classifier

        images = load_images(space, data.outputs["classifier"])
        validation = load_images(space, data.outputs["validation"])
        start = time.perf_counter()
        classifier = Classifier(images.images.shape[1], len(images.label_names), seed=seed)
        with progress("Train classifier", config.steps) as advance:
            classifier.fit(images.images, images.labels, steps=config.steps, seed=seed, progress=advance)
        return {
            "classifier": space.artifacts.put(classifier.to_bytes()),
            "accuracy": classifier.accuracy(validation.images, validation.labels),
            "real_utility": utility_of(validation.images, classifier),
            "busy_seconds": time.perf_counter() - start,
        }

    modules = ("models.properties.classifier", "models.properties.inception_score")
    return run_stage("classifier", inputs=inputs, modules=modules, compute=compute)


@task(cache_policy=NO_CACHE)
def train_generator(
    data: StageRecord, classifier: StageRecord, config: GeneratorConfig, sampling: SamplingConfig, seed: int
) -> StageRecord:
    """Digest of the base model and of images it makes, its size and its utility."""
    inputs = {
        "config": config.model_dump(mode="json"),
        "sampling": sampling.model_dump(),
        "train": data.outputs["train"],
        "classifier": classifier.outputs["classifier"],
        "seed": seed,
    }

    def compute(space: Workspace) -> dict[str, Any]:
        from models.generators.ddpm import DDPM, Architecture

        images = load_images(space, data.outputs["train"]).images
        architecture = Architecture(images.shape[-1], images.shape[1], config.block_channels, config.layers_per_block)
        start = time.perf_counter()
        model = DDPM.build(architecture, seed=seed).to(best_device())
        options = config.model_dump(exclude={"block_channels", "layers_per_block"})
        with progress("Train generator", config.steps) as advance:
            losses = model.fit(images, **options, seed=seed, progress=advance)
        described = describe_model(space, model, classifier, sampling, seed)
        return described | {"losses": _thinned(losses), "busy_seconds": time.perf_counter() - start}

    return run_stage("train", inputs=inputs, modules=("models.generators.ddpm",), compute=compute)


def describe_model(
    space: Workspace, model: Any, classifier: StageRecord, sampling: SamplingConfig, seed: int
) -> dict[str, Any]:
    """Store a model and a sheet of its images; measure its size and utility."""
    from models.pruning import size_of

    images = model.sample(sampling.images, seed=seed, steps=sampling.steps)
    size = size_of(model.unet)
    return {
        "model": space.artifacts.put(model.to_bytes()),
        "images": space.artifacts.put(images[:64].tobytes()),
        "shape": list(images[:64].shape),
        "utility": utility_of(images, load_classifier(space, classifier.outputs["classifier"])),
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
    }


def _thinned(losses: list[float], points: int = 100) -> list[list[float]]:
    """Step and mean loss at that many points, for a curve."""
    chunks = np.array_split(np.array(losses), min(points, len(losses)))
    ends = np.cumsum([len(chunk) for chunk in chunks])
    return [[int(end), round(float(chunk.mean()), 6)] for end, chunk in zip(ends, chunks, strict=True)]
