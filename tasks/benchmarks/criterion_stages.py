"""The stages that judge values of items by the criteria of GMValuator's paper: what each takes, and what it gives.

A field that is a digest names an artifact; rows of items are their positions in a set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from royalty.tasks.config.criteria import MethodsConfig, TracInConfig
from royalty.tasks.stages.stage import Finished, Stage, TableRow


@dataclass(frozen=True)
class TracInInputs:
    """Digests of the training items, the generated items and the checkpoints of a beta-VAE.

    Attributes:
        k: items of highest score that are kept of each generated image.
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
    """What one method found of one generator's images.

    Attributes:
        made: digest of the generated images, with labels or attributes where a criterion compares them.
        table: digest of the values of the training items; "" of VAE-TracIn, which values none.
        contributions: digest of the items of highest score of each generated image, the best first.
        uncalibrated: digest of the contributions without the quality of images; "" where they were not computed.
    """

    generator: str
    method: str
    made: str
    table: str
    contributions: str
    uncalibrated: str


@dataclass(frozen=True)
class IdentityInputs:
    """What methods found, to be compared by class.

    Attributes:
        items: digest of the training items.
        ks: numbers of items of highest score that are compared.
        seed: of the draws of fewer generated images.
    """

    judged: list[Judged]
    items: str
    ks: list[int]
    seed: int


@dataclass(frozen=True)
class IdentityOutputs:
    """Rows of three tables.

    Attributes:
        identity: the share of the k items of highest score that have the class of the generated image, in [0, 1].
        sensitivity: mean and deviation of that share over draws of fewer generated images.
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
    """What methods found, to be compared by attributes.

    Attributes:
        items: digest of the training items.
        attributes: by name, the labels that have it; for images that were read without attributes.
    """

    judged: list[Judged]
    items: str
    attributes: Mapping[str, list[str]]


@dataclass(frozen=True)
class AttributesOutputs:
    """Shares of the items of highest score that have the attributes of the generated image, in [0, 1]."""

    attributes: list[TableRow]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"attributes": self.attributes}


@dataclass(frozen=True)
class MembershipInputs:
    """What methods found, to be compared between two halves of a class.

    Attributes:
        trained, held_out: rows of both halves of a class among the valued items.
    """

    judged: list[Judged]
    trained: list[int]
    held_out: list[int]


@dataclass(frozen=True)
class MembershipOutputs:
    """Tests of whether trained items have higher values than held-out ones.

    Attributes:
        values: of the items of both halves, by generator, method and half.
    """

    membership: list[TableRow]
    values: dict[str, list[float]]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"membership": self.membership}


@dataclass(frozen=True)
class OutliersInputs:
    """What methods found, to be compared between items with noise and others.

    Attributes:
        planted: rows of the items with noise among the valued items.
    """

    judged: list[Judged]
    planted: list[int]


@dataclass(frozen=True)
class OutliersOutputs:
    """How items with noise rank by value, the lowest first.

    Attributes:
        curves: share of them found over the items looked at, by generator and method.
    """

    outliers: list[TableRow]
    curves: dict[str, list[float]]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"outliers": self.outliers}


@dataclass(frozen=True)
class EfficiencyInputs:
    """Methods to be timed.

    Attributes:
        digests: of the training items, of the generated items, and of the checkpoints of a beta-VAE.
    """

    config: MethodsConfig
    seed: int
    digests: tuple[str, str, list[str]]


@dataclass(frozen=True)
class EfficiencyOutputs:
    """Seconds per generated image of each method."""

    efficiency: list[TableRow]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"efficiency": self.efficiency}


TRACIN = Stage("vae-tracin", TracInInputs, TracInOutputs)
IDENTITY = Stage("judge-identity", IdentityInputs, IdentityOutputs)
ATTRIBUTES = Stage("judge-attributes", AttributesInputs, AttributesOutputs)
MEMBERSHIP = Stage("judge-membership", MembershipInputs, MembershipOutputs)
OUTLIERS = Stage("judge-outliers", OutliersInputs, OutliersOutputs)
EFFICIENCY = Stage("time-methods", EfficiencyInputs, EfficiencyOutputs)

IdentityJudged = Finished[IdentityInputs, IdentityOutputs]
AttributesJudged = Finished[AttributesInputs, AttributesOutputs]
MembershipJudged = Finished[MembershipInputs, MembershipOutputs]
OutliersJudged = Finished[OutliersInputs, OutliersOutputs]
EfficiencyJudged = Finished[EfficiencyInputs, EfficiencyOutputs]
Criterion = IdentityJudged | AttributesJudged | MembershipJudged | OutliersJudged | EfficiencyJudged
CriterionOutputs = IdentityOutputs | AttributesOutputs | MembershipOutputs | OutliersOutputs | EfficiencyOutputs
CriterionName = Literal["identity", "attributes", "membership", "outliers", "efficiency"]
