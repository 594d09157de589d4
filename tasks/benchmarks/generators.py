"""Draw training images, train generators on them, and let them make images: a stage each, reused by every criterion."""

from __future__ import annotations

from collections.abc import Mapping

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.stores.runstore import StageRecord
from royalty.tasks.config.criteria import CriteriaConfig, GeneratorName
from royalty.tasks.stages.stage import in_worker, run_stage

GENERATING = "royalty.tasks.benchmarks.generators_worker"


@task(cache_policy=NO_CACHE)
def draw_items(source: str, config: CriteriaConfig) -> StageRecord:
    """Digest of the training images, all or as many as are wanted; those of MNIST if there is no source."""
    work = in_worker("Draw items", 0, f"{GENERATING}.draw", source, config.items, config.seed)
    inputs = {"source": source, "items": config.items, "seed": config.seed}
    return run_stage("draw-items", inputs=inputs, modules=(GENERATING,), compute=work)


@task(cache_policy=NO_CACHE)
def halve(items: StageRecord, config: CriteriaConfig) -> StageRecord:
    """Digest of the images without half of one class, and the rows of both halves among all."""
    inputs = {"items": items.outputs["items"], "label": config.halved, "seed": config.seed}
    work = in_worker("Hold out", 0, f"{GENERATING}.halve", *inputs.values())
    return run_stage("halve-class", inputs=inputs, modules=(GENERATING,), compute=work)


@task(cache_policy=NO_CACHE)
def plant(items: StageRecord, config: CriteriaConfig) -> StageRecord:
    """Digest of the images with noise in some of them, and their rows."""
    inputs = {"items": items.outputs["items"], "share": config.noisy, "seed": config.seed}
    work = in_worker("Plant noise", 0, f"{GENERATING}.plant", *inputs.values())
    return run_stage("plant-noise", inputs=inputs, modules=(GENERATING,), compute=work)


@task(cache_policy=NO_CACHE)
def train_generator(items: StageRecord, generator: GeneratorName, config: CriteriaConfig) -> StageRecord:
    """Digests of a generator's checkpoints, the trained one last."""
    steps = config.steps.of(generator)
    inputs = {
        "items": items.outputs["items"],
        "generator": generator,
        "steps": steps,
        "parts": config.checkpoints if generator == "beta-vae" else 1,
        "seed": config.seed,
    }
    work = in_worker(f"Train {generator}", steps, f"{GENERATING}.fit", *inputs.values())
    return run_stage("generator", inputs=inputs, modules=(GENERATING,), compute=work)


@task(cache_policy=NO_CACHE)
def sample(trained: StageRecord, images: int, config: CriteriaConfig) -> StageRecord:
    """Digest of images that a generator makes."""
    inputs = {"model": trained.outputs["models"][-1], "generator": trained.inputs["generator"], "images": images}
    inputs |= {"seed": config.seed}
    work = in_worker(f"Sample {inputs['generator']}", images, f"{GENERATING}.sample", *inputs.values())
    return run_stage("sample", inputs=inputs, modules=(GENERATING,), compute=work)


@task(cache_policy=NO_CACHE)
def train_classifier(items: StageRecord, config: CriteriaConfig, attribute: str = "") -> StageRecord:
    """Digest of a classifier of the training classes, or of one attribute, and its accuracy on images held out."""
    inputs = {"items": items.outputs["items"], "attribute": attribute, "steps": config.classifier, "seed": config.seed}
    work = in_worker("Train classifier", config.classifier, f"{GENERATING}.fit_classifier", *inputs.values())
    return run_stage("class-of-images", inputs=inputs, modules=(GENERATING,), compute=work)


@task(cache_policy=NO_CACHE)
def classify(made: StageRecord, items: StageRecord, classifier: StageRecord) -> StageRecord:
    """Digest of generated images with the classes that a classifier sees."""
    digests = {"made": made.outputs["items"], "items": items.outputs["items"]}
    inputs = digests | {"classifier": classifier.outputs["classifier"]}
    work = in_worker("Classify", 0, f"{GENERATING}.classify", *inputs.values())
    return run_stage("classify", inputs=inputs, modules=(GENERATING,), compute=work)


@task(cache_policy=NO_CACHE)
def find_attributes(made: StageRecord, classifiers: Mapping[str, StageRecord]) -> StageRecord:
    """Digest of generated images with the attributes that classifiers see."""
    digests = {name: classifier.outputs["classifier"] for name, classifier in classifiers.items()}
    inputs = {"made": made.outputs["items"], "classifiers": digests}
    work = in_worker("Find attributes", 0, f"{GENERATING}.find_attributes", *inputs.values())
    return run_stage("find-attributes", inputs=inputs, modules=(GENERATING,), compute=work)
