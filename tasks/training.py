"""Train the classifier behind the utility, the generator, and its pruned copy."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from infra.runstore import StageRecord
from tasks.config import ClassifierConfig, GeneratorConfig, PruningConfig, SamplingConfig
from tasks.stage import WORKER, in_worker, run_stage

ARCHITECTURE = {"block_channels", "layers_per_block"}


@task(cache_policy=NO_CACHE)
def train_classifier(data: StageRecord, config: ClassifierConfig, seed: int) -> StageRecord:
    """Digest of the classifier, its accuracy on validation images, and their Inception Score."""
    inputs = {
        "images": data.outputs["classifier"],
        "validation": data.outputs["validation"],
        "steps": config.steps,
        "seed": seed,
    }
    work = in_worker("Train classifier", config.steps, "fit_classifier", *inputs.values())
    return run_stage("classifier", inputs=inputs, modules=(WORKER,), compute=work)


@task(cache_policy=NO_CACHE)
def train_generator(
    data: StageRecord, classifier: StageRecord, config: GeneratorConfig, sampling: SamplingConfig, seed: int
) -> StageRecord:
    """Digest of the base model and of images it makes, its size and its utility."""
    inputs = {
        "train": data.outputs["train"],
        "classifier": classifier.outputs["classifier"],
        "architecture": config.model_dump(include=ARCHITECTURE),
        "training": config.model_dump(exclude=ARCHITECTURE),
        "sampling": sampling.model_dump(),
        "seed": seed,
    }
    work = in_worker("Train generator", config.steps, "fit_generator", *inputs.values())
    return run_stage("train", inputs=inputs, modules=(WORKER,), compute=work)


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
        "train": data.outputs["train"],
        "base": base.outputs["model"],
        "classifier": classifier.outputs["classifier"],
        "ratio": config.ratio,
        "training": generator.model_dump(exclude={*ARCHITECTURE, "steps"}) | {"steps": config.recovery_steps},
        "sampling": sampling.model_dump(),
        "seed": seed,
    }
    work = in_worker("Recover pruned model", config.recovery_steps, "prune_generator", *inputs.values())
    return run_stage("prune", inputs=inputs, modules=(WORKER,), compute=work)
