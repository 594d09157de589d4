"""Inputs and outputs of the stages that judge values of items by the criteria of the GMValuator paper.

Digests identify artifacts. Rows of items are positions in a set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from royalty.tasks.config.criteria import MethodsConfig, Split, TracInConfig
from royalty.tasks.config.if4gan import IF4GANConfig
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.stages.stage import Finished, Stage, TableRow

ALL = "all"
"""In place of a class or an attribute: generated images without regard to it."""


@dataclass(frozen=True)
class TracInInputs:
    """Digests of the training items, the generated items and the checkpoints of a beta-VAE.

    Attributes:
        k: number of items of highest score stored for each generated image.
    """

    items: str
    made: str
    models: list[str]
    tracin: TracInConfig
    k: int
    seed: int


@dataclass(frozen=True)
class TracInOutputs:
    """Digest of the contributions (Parquet)."""

    contributions: str


@dataclass(frozen=True)
class Judged:
    """Results of one method for the images of one generator.

    Attributes:
        made: digest of the generated images, with labels or attributes if a criterion compares them.
        table: digest of the values of the training items; "" for VAE-TracIn, which has no such table.
        contributions: digest of the items of highest score of each generated image, highest first.
        uncalibrated: digest of the contributions without the quality of images; "" if not computed.
    """

    generator: str
    method: str
    made: str
    table: str
    contributions: str
    uncalibrated: str


@dataclass(frozen=True)
class IdentityInputs:
    """Results of methods, to compare by class.

    Attributes:
        items: digest of the training items.
        ks: numbers of items of highest score that are compared.
        seed: seed of the draws of fewer generated images.
        label: label of all generated images; None: they are of several classes.
    """

    judged: list[Judged]
    items: str
    ks: list[int]
    seed: int
    label: str | None = None


@dataclass(frozen=True)
class IdentityOutputs:
    """Rows of three tables.

    Attributes:
        identity: fraction of the k items of highest score with the class of the generated image, in [0, 1]; `chance`
            is that of random items.
        sensitivity: mean and standard deviation of that fraction over draws of fewer generated images.
        calibration: mean of the highest scores with and without the quality of the generated images.
    """

    identity: list[TableRow]
    sensitivity: list[TableRow]
    calibration: list[TableRow]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"identity": self.identity, "sensitivity": self.sensitivity, "calibration": self.calibration}


@dataclass(frozen=True)
class AttributesInputs:
    """Results of methods, to compare by attributes.

    Attributes:
        items: digest of the training items.
        attributes: by name, the labels that have the attribute; for images without attributes of their own.
    """

    judged: list[Judged]
    items: str
    attributes: Mapping[str, list[str]]


@dataclass(frozen=True)
class AttributesOutputs:
    """Fractions of the items of highest score with the attributes of the generated image, in [0, 1]."""

    attributes: list[TableRow]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"attributes": self.attributes}


@dataclass(frozen=True)
class MembershipInputs:
    """Results of methods, to compare between two halves of a class.

    Attributes:
        trained, held_out: rows of both halves of a class among the valued items.
        split: how the class was halved.
    """

    judged: list[Judged]
    trained: list[int]
    held_out: list[int]
    split: Split = "random"


@dataclass(frozen=True)
class MembershipOutputs:
    """Tests of whether trained items have higher values than held-out ones.

    Attributes:
        membership: rows of the tests.
        values: values of the items of both halves, by generator, method and half.
    """

    membership: list[TableRow]
    values: dict[str, list[float]]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"membership": self.membership}


@dataclass(frozen=True)
class OutliersInputs:
    """Results of methods, to compare between items with noise and others.

    Attributes:
        planted: rows of the items with noise among the valued items.
    """

    judged: list[Judged]
    planted: list[int]


@dataclass(frozen=True)
class OutliersOutputs:
    """Ranks of items with noise by value, lowest first.

    Attributes:
        outliers: rows of the ranks.
        curves: fraction of these items found over the number of items inspected, by generator and method.
    """

    outliers: list[TableRow]
    curves: dict[str, list[float]]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"outliers": self.outliers}


@dataclass(frozen=True)
class TimedGAN:
    """Digests of a DCGAN and of its images, and the settings of IF4GAN, which is timed for them."""

    model: str
    made: str
    settings: IF4GANConfig


@dataclass(frozen=True)
class EfficiencyInputs:
    """Methods to time.

    Attributes:
        digests: digests of the training items, the generated items, and the checkpoints of a beta-VAE.
        gan: a DCGAN, for whose images methods are timed too; None: there is none.
    """

    config: MethodsConfig
    seed: int
    digests: tuple[str, str, list[str]]
    gan: TimedGAN | None = None


@dataclass(frozen=True)
class EfficiencyOutputs:
    """Seconds per generated image of each generator and method, and of all images together."""

    efficiency: list[TableRow]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"efficiency": self.efficiency}


@dataclass(frozen=True)
class RemoveInputs:
    """Items, and which of them are removed.

    Attributes:
        contributions: digest of the contributions by which the most valuable items are removed; "" for random ones.
        share: fraction of the items that is removed.
        seed: seed of random removals.
        image: position of a generated image: the items that contribute to it are removed; None: a share of all.
    """

    items: str
    contributions: str
    share: float
    seed: int
    image: int | None = None


@dataclass(frozen=True)
class CausesInputs:
    """Generators trained on all items, and without those that a method values highest.

    Attributes:
        made: digest of the generated images.
        models: digests of the generators by method, one for each seed, in one order of seeds.
        single: digests of the generators without the items behind single images, the first of `made`, by method: a
            list for each seed.
        whole, random: the methods that remove nothing, and random items.
    """

    made: str
    models: Mapping[str, list[str]]
    single: Mapping[str, list[list[str]]]
    whole: str = "nothing"
    random: str = "random"


@dataclass(frozen=True)
class CausesOutputs:
    """Effects of the removals on the loss of the generated images.

    Attributes:
        causes: a row for each method; see `royalty.models.judging.causes.Effect`.
        single: a row for each method and image of which the items were removed; see
            `royalty.models.judging.causes.OwnEffect`.
        images: the effect on each of these images.
    """

    causes: list[TableRow]
    single: list[TableRow]
    images: list[TableRow]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"causes": self.causes, "single-images": self.single, "effects": self.images}


TRACIN = Stage("vae-tracin", TracInInputs, TracInOutputs)
IDENTITY = Stage("judge-identity", IdentityInputs, IdentityOutputs)
ATTRIBUTES = Stage("judge-attributes", AttributesInputs, AttributesOutputs)
MEMBERSHIP = Stage("judge-membership", MembershipInputs, MembershipOutputs)
OUTLIERS = Stage("judge-outliers", OutliersInputs, OutliersOutputs)
EFFICIENCY = Stage("time-methods", EfficiencyInputs, EfficiencyOutputs)
REMOVE = Stage("remove-items", RemoveInputs, ItemsOutputs)
CAUSES = Stage("judge-causes", CausesInputs, CausesOutputs)

IdentityJudged = Finished[IdentityInputs, IdentityOutputs]
AttributesJudged = Finished[AttributesInputs, AttributesOutputs]
MembershipJudged = Finished[MembershipInputs, MembershipOutputs]
OutliersJudged = Finished[OutliersInputs, OutliersOutputs]
EfficiencyJudged = Finished[EfficiencyInputs, EfficiencyOutputs]
CausesJudged = Finished[CausesInputs, CausesOutputs]
Criterion = IdentityJudged | AttributesJudged | MembershipJudged | OutliersJudged | EfficiencyJudged | CausesJudged
CriterionOutputs = (
    IdentityOutputs | AttributesOutputs | MembershipOutputs | OutliersOutputs | EfficiencyOutputs | CausesOutputs
)
CriterionName = Literal["identity", "attributes", "membership", "outliers", "efficiency", "causes"]
