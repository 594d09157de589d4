"""The stages from images to the models that coalitions start from: what each takes, and what it gives.

A field that is a digest names an artifact. Architectures, trainings and samplings are keyword arguments of the numerics
that they are handed to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from royalty.tasks.stages.stage import Finished, Stage

Curve = list[list[float]]
"""Step and mean loss, a pair a point."""


@dataclass(frozen=True)
class IngestInputs:
    """Images to be read.

    Attributes:
        source: its settings, apart from where it lies.
        files: digest of what it lists; None of images that come with a package.
    """

    source: Mapping[str, Any]
    seed: int
    files: str | None = None


@dataclass(frozen=True)
class IngestOutputs:
    """Images with their contributors, checked, and split into three parts.

    Attributes:
        train, validation, classifier: digests of the parts: trained on, held out, and for the judge.
        contributors: sorted.
        items: training images that each contributor brings.
        contributor_digests: of those images, in the order of the contributors.
        shared_items: images of several contributors; of each pair of them, `copies` says how many.
        near_copies: images of two contributors that are nearly the same, a pair each.
        shape: channels, height, width.
        repeated_items: copies that a contributor brought more than once.
        licenses: images that were read by licence, "" for none that is known.
    """

    train: str
    validation: str
    classifier: str
    contributors: list[str]
    items: dict[str, int]
    contributor_digests: list[str]
    shared_items: int
    total_items: int
    # Rows of earlier versions lack these.
    copies: list[tuple[str, str, int]] = field(default_factory=list)
    near_copies: list[tuple[str, str, int]] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)
    repeated_items: int = 0
    licenses: dict[str, int] = field(default_factory=dict)

    @property
    def brought(self) -> dict[str, str]:
        """Digest of each contributor's images, by name."""
        return dict(zip(self.contributors, self.contributor_digests, strict=True))


@dataclass(frozen=True)
class ClassifierInputs:
    """Digests of the images that it learns from and is judged by."""

    images: str
    validation: str
    steps: int
    seed: int


@dataclass(frozen=True)
class ClassifierOutputs:
    """Digest of the classifier behind the utility, and its accuracy on validation images."""

    classifier: str
    accuracy: float
    busy_seconds: float


@dataclass(frozen=True)
class PipelineInputs:
    """The pipeline that LoRAs are put on, where the run trains it."""

    base: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class PipelineOutputs:
    """Name of the pipeline among the weights, digest of the list of its files, and its size.

    Attributes:
        reconstruction, losses: of the autoencoder, and of the denoiser.
    """

    name: str
    files: str
    parameters: int
    reconstruction: Curve
    losses: Curve
    busy_seconds: float


@dataclass(frozen=True)
class TrialInputs:
    """A generator that is built and not kept.

    Attributes:
        own: its base is yet to come, so that an outline is built.
    """

    train: str
    kind: str
    architecture: Mapping[str, Any]
    own: bool
    gpus: int


@dataclass(frozen=True)
class TrialOutputs:
    """Nothing."""


@dataclass(frozen=True)
class TrainInputs:
    """The base model.

    Attributes:
        pipeline: digest of the list of files of the pipeline under it, if the run trained that.
    """

    train: str
    kind: str
    architecture: Mapping[str, Any]
    training: Mapping[str, Any]
    seed: int
    gpus: int = 1
    pipeline: str | None = None


@dataclass(frozen=True)
class TrainOutputs:
    """Digest of the base model, and its size."""

    model: str
    parameters: int
    multiply_adds: int
    losses: Curve
    busy_seconds: float


@dataclass(frozen=True)
class PruneInputs:
    """Digests of the training images and of the base model, and how it is pruned and recovers."""

    train: str
    base: str
    pruning: Mapping[str, Any]
    training: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class PruneOutputs:
    """Digest of the pruned model before (`broken`) and after recovery, and its size.

    Attributes:
        removed: fraction of the parameters.
    """

    model: str
    parameters: int
    multiply_adds: int
    broken: str
    removed: float
    busy_seconds: float


@dataclass(frozen=True)
class MeasureInputs:
    """Models by name, and what judges them."""

    models: Mapping[str, str]
    validation: str
    classifier: str
    reference: str
    property: str
    sampling: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class MeasureOutputs:
    """By model: utility (of `real` images too) and its standard error, seconds a sampling step, digest of some images.

    Attributes:
        shape: of the kept images of a model.
    """

    utility: dict[str, float]
    utility_stderr: dict[str, float]
    step_seconds: dict[str, float]
    images: dict[str, str]
    shape: list[int]
    busy_seconds: float


@dataclass(frozen=True)
class ImageCountInputs:
    """A pilot of the pruned model, from which the number of images is reckoned."""

    pruned: str
    classifier: str
    reference: str
    property: str
    sampling: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class ImageCountOutputs:
    """How many images give the property the standard error that is asked for."""

    count: int
    busy_seconds: float


INGEST = Stage("ingest", IngestInputs, IngestOutputs)
CLASSIFIER = Stage("classifier", ClassifierInputs, ClassifierOutputs)
PIPELINE = Stage("base", PipelineInputs, PipelineOutputs)
TRIAL = Stage("try-base", TrialInputs, TrialOutputs)
TRAIN = Stage("train", TrainInputs, TrainOutputs)
PRUNE = Stage("prune", PruneInputs, PruneOutputs)
MEASURE = Stage("measure", MeasureInputs, MeasureOutputs)
IMAGE_COUNT = Stage("images", ImageCountInputs, ImageCountOutputs)

Ingested = Finished[IngestInputs, IngestOutputs]
Classified = Finished[ClassifierInputs, ClassifierOutputs]
Pipeline = Finished[PipelineInputs, PipelineOutputs]
Trained = Finished[TrainInputs, TrainOutputs]
Pruned = Finished[PruneInputs, PruneOutputs]
Measured = Finished[MeasureInputs, MeasureOutputs]
