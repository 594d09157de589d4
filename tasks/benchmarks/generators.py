"""Draw training images, train generators and sample them: one stage each, reused by all criteria."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

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
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.benchmarks import classes_worker, generators_worker, halves_worker, training_sets_worker
else:
    classes_worker = Deferred("royalty.tasks.benchmarks.classes_worker")
    generators_worker = Deferred("royalty.tasks.benchmarks.generators_worker")
    halves_worker = Deferred("royalty.tasks.benchmarks.halves_worker")
    training_sets_worker = Deferred("royalty.tasks.benchmarks.training_sets_worker")


@task(name="draw items", cache_policy=NO_CACHE)
def draw_items(source: str, config: CriteriaConfig) -> ItemsOutputs:
    """Draw training images from a source, or from the MNIST digits if the source is ""."""
    inputs = DrawInputs(source, config.items, config.seed)
    return run_in_worker(DRAW, inputs, training_sets_worker.draw).outputs


@task(name="halve the items", cache_policy=NO_CACHE)
def halve(items: ItemsOutputs, config: CriteriaConfig) -> Halved:
    """Hold out half of one class."""
    inputs = HalveInputs(items.items, config.halved, config.seed, config.split)
    return run_in_worker(HALVE, inputs, halves_worker.halve)


@task(name="plant outliers", cache_policy=NO_CACHE)
def plant(items: ItemsOutputs, config: CriteriaConfig) -> Planted:
    """Add noise to some of the images."""
    return run_in_worker(PLANT, PlantInputs(items.items, config.noisy, config.seed), training_sets_worker.plant)


@task(name="train base model", cache_policy=NO_CACHE)
def train_generator(items: ItemsOutputs, generator: GeneratorName, config: CriteriaConfig) -> Generator:
    """Train a generator."""
    steps, parts = config.steps.of(generator), config.checkpoints if generator == "beta-vae" else 1
    inputs = GeneratorInputs(items.items, generator, steps, parts, config.seed)
    return run_in_worker(GENERATOR, inputs, generators_worker.fit, title=f"Train {generator}", total=steps)


@task(name="sample the generator", cache_policy=NO_CACHE)
def sample(trained: Generator, images: int, config: CriteriaConfig) -> ItemsOutputs:
    """Generate images by a trained generator."""
    generator = trained.inputs.generator
    inputs = SampleInputs(trained.outputs.models[-1], generator, images, config.seed)
    return run_in_worker(SAMPLE, inputs, generators_worker.sample, title=f"Sample {generator}", total=images).outputs


@task(name="train classifier", cache_policy=NO_CACHE)
def train_classifier(items: ItemsOutputs, config: CriteriaConfig, attribute: str = "") -> ImageClassifier:
    """Train a classifier of the training classes, or of one attribute."""
    steps = config.classifier
    inputs = ImageClassifierInputs(items.items, attribute, steps, config.seed)
    return run_in_worker(IMAGE_CLASSIFIER, inputs, classes_worker.fit_classifier, title="Train classifier", total=steps)


@task(name="classify images", cache_policy=NO_CACHE)
def classify(
    made: ItemsOutputs, items: ItemsOutputs, classifier: ImageClassifier, config: CriteriaConfig
) -> ItemsOutputs:
    """Classify generated images, and keep those of whose class the classifier is sure."""
    inputs = ClassifyInputs(made.items, items.items, classifier.outputs.classifier, config.confident)
    return run_in_worker(CLASSIFY, inputs, classes_worker.classify).outputs


@task(name="find attributes", cache_policy=NO_CACHE)
def find_attributes(made: ItemsOutputs, classifiers: Mapping[str, ImageClassifier]) -> ItemsOutputs:
    """Predict the attributes of generated images."""
    digests = {name: classifier.outputs.classifier for name, classifier in classifiers.items()}
    inputs = FindAttributesInputs(made.items, digests)
    return run_in_worker(FIND_ATTRIBUTES, inputs, classes_worker.find_attributes).outputs
