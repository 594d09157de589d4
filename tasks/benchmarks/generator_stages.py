"""Inputs and outputs of the stages behind the criteria: training sets, generators, images and their classifiers.

Digests identify artifacts. Rows of items are positions in a set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from royalty.tasks.config.criteria import GeneratorName, Split
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.stages.stage import Finished, Stage


class Optimization(NamedTuple):
    """Training settings of a generator, except its steps."""

    batch_size: int
    learning_rate: float


OPTIMIZATION: Mapping[GeneratorName, Optimization] = {
    "ddpm": Optimization(32, 2e-3),
    "beta-vae": Optimization(64, 1e-3),
    "dcgan": Optimization(64, 2e-4),
    "conditional-ddpm": Optimization(64, 2e-3),
}


@dataclass(frozen=True)
class DrawInputs:
    """Training images to draw.

    Attributes:
        source: digest of items; "" for the embedded MNIST digits.
        items: number of items to draw; None: all.
    """

    source: str
    items: int | None
    seed: int


@dataclass(frozen=True)
class HalveInputs:
    """Items, and the class to halve.

    Attributes:
        label: label of that class; None: the first.
        split: see `royalty.tasks.config.criteria.CriteriaConfig`.
    """

    items: str
    label: str | None
    seed: int
    split: Split = "random"


@dataclass(frozen=True)
class HalvedOutputs(ItemsOutputs):
    """All items except the held-out half of one class.

    Attributes:
        trained, held_out: rows of both halves among all items.
        label: label of the class.
    """

    trained: list[int]
    held_out: list[int]
    label: str


@dataclass(frozen=True)
class PlantInputs:
    """Items, and the fraction of them that noise is added to."""

    items: str
    share: float
    seed: int


@dataclass(frozen=True)
class PlantedOutputs(ItemsOutputs):
    """The items, some of them with noise.

    Attributes:
        planted: rows of the items with noise.
    """

    planted: list[int]


@dataclass(frozen=True)
class GeneratorInputs:
    """A generator, and the items that it is trained on.

    Attributes:
        parts: number of parts of the training; each ends with a checkpoint.
    """

    items: str
    generator: GeneratorName
    steps: int
    parts: int
    seed: int


@dataclass(frozen=True)
class GeneratorOutputs:
    """Digests of the checkpoints in order; the last is the trained generator."""

    models: list[str]
    busy_seconds: float


@dataclass(frozen=True)
class SampleInputs:
    """A trained generator, and the number of images to generate."""

    model: str
    generator: GeneratorName
    images: int
    seed: int


@dataclass(frozen=True)
class ImageClassifierInputs:
    """Items to train a classifier on.

    Attributes:
        attribute: attribute that it predicts; "" to predict the class.
    """

    items: str
    attribute: str
    steps: int
    seed: int


@dataclass(frozen=True)
class ImageClassifierOutputs:
    """Digest of a classifier, and its accuracy on held-out images, in [0, 1]."""

    classifier: str
    accuracy: float


@dataclass(frozen=True)
class ClassifyInputs:
    """Digests of generated images, items with the class names, and the classifier.

    Attributes:
        confident: least probability of the class of images that are kept; None keeps all.
    """

    made: str
    items: str
    classifier: str
    confident: float | None = None


@dataclass(frozen=True)
class FindAttributesInputs:
    """Digests of generated images, and of classifiers by attribute."""

    made: str
    classifiers: Mapping[str, str]


DRAW = Stage("draw-items", DrawInputs, ItemsOutputs)
HALVE = Stage("halve-class", HalveInputs, HalvedOutputs)
PLANT = Stage("plant-noise", PlantInputs, PlantedOutputs)
GENERATOR = Stage("generator", GeneratorInputs, GeneratorOutputs)
SAMPLE = Stage("sample", SampleInputs, ItemsOutputs)
IMAGE_CLASSIFIER = Stage("class-of-images", ImageClassifierInputs, ImageClassifierOutputs)
CLASSIFY = Stage("classify", ClassifyInputs, ItemsOutputs)
FIND_ATTRIBUTES = Stage("find-attributes", FindAttributesInputs, ItemsOutputs)

Generator = Finished[GeneratorInputs, GeneratorOutputs]
ImageClassifier = Finished[ImageClassifierInputs, ImageClassifierOutputs]
Halved = Finished[HalveInputs, HalvedOutputs]
Planted = Finished[PlantInputs, PlantedOutputs]
