"""Inputs and outputs of the stages from images to the models that coalitions start from.

Digests identify artifacts. The mappings `architecture`, `training`, `pruning` and `sampling` are keyword arguments of
functions in `royalty.models`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from royalty.tasks.stages.stage import Finished, Stage

Curve = list[list[float]]
"""Points of a loss curve: pairs of step and mean loss."""


@dataclass(frozen=True)
class IngestInputs:
    """Images to read.

    Attributes:
        source: settings of the source, without its path.
        files: digest of the listed files; None for embedded images.
        names: digest of the names of the files; "" for embedded images. What is trained does not depend on them.
        public: contributors whose images are in every model and who are not paid.
    """

    source: Mapping[str, Any]
    seed: int
    files: str | None = None
    names: str = ""
    public: list[str] = field(default_factory=list)  # rows of earlier versions lack it


@dataclass(frozen=True)
class IngestOutputs:
    """Images with their contributors, checked, and split into three parts.

    Attributes:
        train, validation, classifier: digests of the parts of that name.
        contributors: names, sorted, of all who provided training images.
        public: those of them whose images are in every model, nobody's too, and who are not paid.
        items, contributor_digests: number of training images of each contributor, and their digests in this order.
        shared_items, total_items: number of images with several contributors, and of distinct training images.
        copies, near_copies: pairs of contributors, with the number of images in common, exactly or nearly.
        shape: channels, height and width of an image.
        repeated_items: number of copies that a contributor provided more than once.
        licenses, years, consents, terms, given, sources: number of images by licence, year in which they were made,
            `training_mining`, terms of the licence, `consent`, and where they were obtained; "" stands for unknown.
        left_out, left_out_of: number of images left out because of their licence, by licence and by contributor.
        without_images: contributors who have no image for that reason.
        withdrawn: number of images that were left out by contributor, because they were withdrawn.
        manifests: number of images with Content Credentials, if they were read.
        refused, refused_left_out: images whose manifest refuses training, by contributor; whether they are left out.
        tampered: names, or places, of the images whose manifest does not fit them.
        not_consented, not_consented_left_out: the same of images that their contributors do not allow to train on.
        label_names: names of the labels, in the order in which a conditional generator makes them.
        held_out: number of images of each contributor that are not trained on.
        references: number of images of the classifier, which properties compare with; None if unknown.
        listed: digest of the table of listed images, with file name and source; "" for embedded images.
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
    years: dict[str, int] = field(default_factory=dict)
    held_out: dict[str, int] = field(default_factory=dict)
    listed: str = ""
    references: int | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    without_images: list[str] = field(default_factory=list)
    withdrawn: dict[str, int] = field(default_factory=dict)
    manifests: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    refused_left_out: bool = False
    tampered: list[str] = field(default_factory=list)
    left_out_of: dict[str, int] = field(default_factory=dict)
    consents: dict[str, int] = field(default_factory=dict)
    terms: dict[str, int] = field(default_factory=dict)
    given: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    not_consented: dict[str, int] = field(default_factory=dict)
    not_consented_left_out: bool = False
    label_names: list[str] = field(default_factory=list)
    public: list[str] = field(default_factory=list)

    @property
    def players(self) -> list[str]:
        """Names, sorted, of the contributors who are credited."""
        return [name for name in self.contributors if name not in self.public]

    @property
    def brought(self) -> dict[str, str]:
        """Digest of each contributor's images, by name."""
        return dict(zip(self.contributors, self.contributor_digests, strict=True))


@dataclass(frozen=True)
class ClassifierInputs:
    """Digests of the images for training and for validating the classifier."""

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
    losses: Curve = field(default_factory=list)  # rows of earlier versions lack it


@dataclass(frozen=True)
class PipelineInputs:
    """Settings of the pipeline under the LoRAs, if the run trains it."""

    base: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class PipelineOutputs:
    """The trained pipeline.

    Attributes:
        name: its name in the weights folder.
        files: digest of the list of its files.
        reconstruction, losses: loss curves of the autoencoder and of the denoiser.
    """

    name: str
    files: str
    parameters: int
    reconstruction: Curve
    losses: Curve
    busy_seconds: float


@dataclass(frozen=True)
class TrialInputs:
    """A generator that is built once to check its settings, then discarded.

    Attributes:
        own: the run trains the base of the generator later, so that only an outline can be built.
    """

    train: str
    kind: str
    architecture: Mapping[str, Any]
    own: bool
    gpus: int


@dataclass(frozen=True)
class TrialOutputs:
    """Empty: the trial only checks that the generator can be built."""


@dataclass(frozen=True)
class TrainInputs:
    """Training of the base model.

    Attributes:
        train: digest of the training images.
        gpus: number of GPUs that train together.
        pipeline: digest of the list of files of the pipeline under the LoRA, if the run trained it.
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
    """Digest of the base model, and its size.

    Attributes:
        samples: digests of images made during training, by step; see `royalty.tasks.credit.snapshots`.
    """

    model: str
    parameters: int
    multiply_adds: int
    losses: Curve
    busy_seconds: float
    samples: dict[str, str] = field(default_factory=dict)  # rows of earlier versions lack it


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
        removed: fraction of the parameters removed, in [0, 1].
        losses: loss curve of the recovery.
    """

    model: str
    parameters: int
    multiply_adds: int
    broken: str
    removed: float
    busy_seconds: float
    losses: Curve = field(default_factory=list)  # rows of earlier versions lack it


@dataclass(frozen=True)
class MeasureInputs:
    """Models by name, and the property to measure them by."""

    models: Mapping[str, str]
    validation: str
    classifier: str
    reference: str
    property: str
    sampling: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class MeasureOutputs:
    """Measurements by model.

    Attributes:
        utility: utility of each model, and of `real` images; higher is better.
        utility_stderr: its standard error over draws of images.
        step_seconds: seconds of one sampling step.
        images: digests of some images of each model.
        shape: shape of these images, `(images, channels, height, width)`.
    """

    utility: dict[str, float]
    utility_stderr: dict[str, float]
    step_seconds: dict[str, float]
    images: dict[str, str]
    shape: list[int]
    busy_seconds: float


@dataclass(frozen=True)
class SampleInputs:
    """Digests of models by name, and how many images each makes, from which noise.

    Attributes:
        classes: number of labels of a conditional generator, which makes an image of each in turn; 0 for others.
        classifier: digest of the classifier that reads the images of a conditional generator; "" for others.
    """

    models: Mapping[str, str]
    images: int
    sampling: Mapping[str, Any]
    seed: int
    classes: int = 0
    classifier: str = ""


@dataclass(frozen=True)
class SampleOutputs:
    """Digests of the images of each model, and their shape, `(images, channels, height, width)`.

    Attributes:
        legible: of a conditional generator, the fraction of each model's images that the classifier reads as the label
            that was asked for.
    """

    images: dict[str, str]
    shape: list[int]
    busy_seconds: float
    legible: dict[str, float] = field(default_factory=dict)  # rows of earlier versions lack it


@dataclass(frozen=True)
class ImageCountInputs:
    """A pilot of the pruned model, from which the number of images is estimated."""

    pruned: str
    classifier: str
    reference: str
    property: str
    sampling: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class ImageCountOutputs:
    """The number of images that give the property the requested standard error."""

    count: int
    busy_seconds: float


@dataclass(frozen=True)
class Pair:
    """A coalition with a cheap and a retrained model.

    Attributes:
        providers: contributors whose images both are trained on.
        cheap, retrained: digests of the models.
        cheap_utility, retrained_utility: their utilities.
    """

    providers: list[str]
    cheap: str
    retrained: str
    cheap_utility: float
    retrained_utility: float


@dataclass(frozen=True)
class FidelityInputs:
    """Coalitions with models of both kinds, and how their images are compared.

    Attributes:
        train, classifier: digests of the training images and of the classifier of their labels.
        encoder: encoder in whose features the FID is computed.
        images: number of images of each model.
    """

    pairs: list[Pair]
    train: str
    classifier: str
    encoder: str
    images: int
    sampling: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class FidelityOutputs:
    """How cheap models agree with retrained ones; see `royalty.models.judging.fidelity.Agreement`.

    Attributes:
        fid: mean FID of the images of a cheap model to those of the retrained one; lower is better.
        leak_cheap, leak_retrained: mean fraction of images that show labels which no member has; None for one label.
    """

    spearman: float | None
    bias: float
    error: float
    spread: float
    coalitions: int
    fid: float
    leak_cheap: float | None
    leak_retrained: float | None
    busy_seconds: float


INGEST = Stage("ingest", IngestInputs, IngestOutputs)
CLASSIFIER = Stage("classifier", ClassifierInputs, ClassifierOutputs)
PIPELINE = Stage("base", PipelineInputs, PipelineOutputs)
TRIAL = Stage("try-base", TrialInputs, TrialOutputs)
TRAIN = Stage("train", TrainInputs, TrainOutputs)
PRUNE = Stage("prune", PruneInputs, PruneOutputs)
MEASURE = Stage("measure", MeasureInputs, MeasureOutputs)
SAMPLES = Stage("samples", SampleInputs, SampleOutputs)
IMAGE_COUNT = Stage("images", ImageCountInputs, ImageCountOutputs)
FIDELITY = Stage("fidelity", FidelityInputs, FidelityOutputs)

Ingested = Finished[IngestInputs, IngestOutputs]
Classified = Finished[ClassifierInputs, ClassifierOutputs]
Pipeline = Finished[PipelineInputs, PipelineOutputs]
Trained = Finished[TrainInputs, TrainOutputs]
Pruned = Finished[PruneInputs, PruneOutputs]
Measured = Finished[MeasureInputs, MeasureOutputs]
Sampled = Finished[SampleInputs, SampleOutputs]
Fidelity = Finished[FidelityInputs, FidelityOutputs]
