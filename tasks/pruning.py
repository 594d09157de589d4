"""Prune the generator, and let it recover on everybody's images."""

from __future__ import annotations

import time
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.progress import progress
from infra.runstore import StageRecord
from infra.workspace import Workspace
from tasks.config import GeneratorConfig, PruningConfig, SamplingConfig
from tasks.measure import best_device, load_classifier, load_images, utility_of
from tasks.stage import run_stage
from tasks.training import describe_model


@task(cache_policy=NO_CACHE)
def prune(
    data: StageRecord,
    base: StageRecord,
    classifier: StageRecord,
    config: PruningConfig,
    generator: GeneratorConfig,
    sampling: SamplingConfig,
    seed: int,
) -> StageRecord:
    """Digest of the pruned and recovered model, its size and utility, and its utility before recovery."""
    inputs = {
        "config": config.model_dump(),
        "training": generator.model_dump(mode="json", include={"batch_size", "learning_rate", "ema_decay"}),
        "sampling": sampling.model_dump(),
        "train": data.outputs["train"],
        "base": base.outputs["model"],
        "classifier": classifier.outputs["classifier"],
        "seed": seed,
    }

    def compute(space: Workspace) -> dict[str, Any]:
        from models.generators.ddpm import DDPM
        from models.pruning import prune_by_magnitude

        model = DDPM.from_bytes(space.artifacts.get(base.outputs["model"])).to(best_device())
        start = time.perf_counter()
        prune_by_magnitude(model.unet, config.ratio)
        broken = model.sample(sampling.images, seed=seed, steps=sampling.steps)
        judge = load_classifier(space, classifier.outputs["classifier"])
        images = load_images(space, data.outputs["train"]).images
        with progress("Recover pruned model", config.recovery_steps) as advance:
            model.fit(images, steps=config.recovery_steps, **inputs["training"], seed=seed, progress=advance)
        described = describe_model(space, model, classifier, sampling, seed)
        return described | {
            "utility_before_recovery": utility_of(broken, judge),
            "busy_seconds": time.perf_counter() - start,
        }

    return run_stage("prune", inputs=inputs, modules=("models.pruning", "models.generators.ddpm"), compute=compute)
