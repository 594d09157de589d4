"""Draw training images, train generators on them, and let them make images: a stage each, reused by every criterion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.tasks.benchmarks.generator_stages import (
    CLASSIFY,
    DRAW,
    FIND_ATTRIBUTES,
    GENERATOR,
    HALVE,
    IMAGE_CLASSIFIER,
    PLANT,
    SAMPLE,
    ClassifyInputs,
    DrawInputs,
    FindAttributesInputs,
    Generator,
    GeneratorInputs,
    Halved,
    HalveInputs,
    ImageClassifier,
    ImageClassifierInputs,
    Planted,
    PlantInputs,
    SampleInputs,
)
from royalty.tasks.config.criteria import CriteriaConfig, GeneratorName
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.stages.running import run_in_worker

if TYPE_CHECKING:
    from royalty.tasks.benchmarks import classes_worker, generators_worker, training_sets_worker
else:
    classes_worker = Deferred("royalty.tasks.benchmarks.classes_worker")
    generators_worker = Deferred("royalty.tasks.benchmarks.generators_worker")
    training_sets_worker = Deferred("royalty.tasks.benchmarks.training_sets_worker")


@task(cache_policy=NO_CACHE)
def draw_items(source: str, config: CriteriaConfig) -> ItemsOutputs:
    """The training images, all or as many as are wanted; those of MNIST if the source is ""."""
    inputs = DrawInputs(source, config.items, config.seed)
    return run_in_worker(DRAW, inputs, training_sets_worker.draw).outputs


@task(cache_policy=NO_CACHE)
def halve(items: ItemsOutputs, config: CriteriaConfig) -> Halved:
    """The images without half of one class, and the rows of both halves among all."""
    return run_in_worker(HALVE, HalveInputs(items.items, config.halved, config.seed), training_sets_worker.halve)


@task(cache_policy=NO_CACHE)
def plant(items: ItemsOutputs, config: CriteriaConfig) -> Planted:
    """The images with noise in some of them, and their rows."""
    return run_in_worker(PLANT, PlantInputs(items.items, config.noisy, config.seed), training_sets_worker.plant)


@task(cache_policy=NO_CACHE)
def train_generator(items: ItemsOutputs, generator: GeneratorName, config: CriteriaConfig) -> Generator:
    """Digests of a generator's checkpoints, the trained one last."""
    steps, parts = config.steps.of(generator), config.checkpoints if generator == "beta-vae" else 1
    inputs = GeneratorInputs(items.items, generator, steps, parts, config.seed)
    return run_in_worker(GENERATOR, inputs, generators_worker.fit, title=f"Train {generator}", total=steps)


@task(cache_policy=NO_CACHE)
def sample(trained: Generator, images: int, config: CriteriaConfig) -> ItemsOutputs:
    """Images that a generator makes."""
    generator = trained.inputs.generator
    inputs = SampleInputs(trained.outputs.models[-1], generator, images, config.seed)
    return run_in_worker(SAMPLE, inputs, generators_worker.sample, title=f"Sample {generator}", total=images).outputs


@task(cache_policy=NO_CACHE)
def train_classifier(items: ItemsOutputs, config: CriteriaConfig, attribute: str = "") -> ImageClassifier:
    """Digest of a classifier of the training classes, or of one attribute, and its accuracy on images held out."""
    steps = config.classifier
    inputs = ImageClassifierInputs(items.items, attribute, steps, config.seed)
    return run_in_worker(IMAGE_CLASSIFIER, inputs, classes_worker.fit_classifier, title="Train classifier", total=steps)


@task(cache_policy=NO_CACHE)
def classify(made: ItemsOutputs, items: ItemsOutputs, classifier: ImageClassifier) -> ItemsOutputs:
    """Generated images with the classes that a classifier finds in them."""
    inputs = ClassifyInputs(made.items, items.items, classifier.outputs.classifier)
    return run_in_worker(CLASSIFY, inputs, classes_worker.classify).outputs


@task(cache_policy=NO_CACHE)
def find_attributes(made: ItemsOutputs, classifiers: Mapping[str, ImageClassifier]) -> ItemsOutputs:
    """Generated images with the attributes that classifiers find in them."""
    digests = {name: classifier.outputs.classifier for name, classifier in classifiers.items()}
    inputs = FindAttributesInputs(made.items, digests)
    return run_in_worker(FIND_ATTRIBUTES, inputs, classes_worker.find_attributes).outputs
