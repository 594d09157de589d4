"""Inputs and outputs of the stages that judge credit by models retrained on held-out coalitions.

Digests identify artifacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from royalty.tasks.stages.stage import Finished, Stage, TableRow

JudgementKind = Literal["lds", "counterfactual"]


@dataclass(frozen=True)
class Gradients:
    """Settings of the gradient methods.

    Attributes:
        images: number of images that the base model generates for them, and whose patches are attributed.
        timesteps: number of evenly spaced noise levels over which gradients are averaged.
        projection: dimensions of the random projection of gradients.
        damping: damping of their second moments, as a fraction of the mean non-zero eigenvalue.
    """

    images: int
    timesteps: int
    projection: int
    damping: float


@dataclass(frozen=True)
class AttributeInputs:
    """Inputs of the baselines of the paper, which attribute generated images to contributors.

    Attributes:
        train, base, classifier: digests of the training images, the base model and the classifier.
        reference: digest of the real images that the property may compare with.
        sampling: number of `images` that the base model generates, and the settings of the sampler.
        encoder: in whose features images are compared; empty in rows of earlier versions, which took the classifier.
    """

    train: str
    base: str
    classifier: str
    reference: str
    property: str
    sampling: Mapping[str, Any]
    gradients: Gradients
    seed: int
    encoder: str = ""


@dataclass(frozen=True)
class AttributeOutputs:
    """Scores of contributors by method, higher is more valuable, and the time of each method in seconds."""

    scores: dict[str, list[float]]
    seconds: dict[str, float]
    busy_seconds: float


@dataclass(frozen=True)
class LdsInputs:
    """Credits to judge, and the measurements of held-out models.

    Attributes:
        credits: method, number of coalitions trained for it, and its predictions: a list for each alpha, with a
            utility for each measured held-out coalition, set by set. In records of earlier versions, its credit.
        held_out: keys of the measurements of held-out models.
        nulls: utility of the null coalition by each method; None if the method has none. Empty in records of earlier
            versions.
        alphas: sizes of the held-out coalitions, as fractions of all contributors. Empty in records of earlier
            versions.
        planted: contributors who are known to be bad.
        seed: of random credit.
    """

    credits: list[tuple[str, int, list[float] | list[list[float]]]]
    held_out: list[str]
    nulls: list[float | None] = field(default_factory=list)
    alphas: list[float] = field(default_factory=list)
    planted: list[str] = field(default_factory=list)
    seed: int = 0


@dataclass(frozen=True)
class LdsOutputs:
    """The table of LDS, by method and size of the coalitions, and its digest (Parquet).

    Attributes:
        leads: the differences between the methods of this package and each other one, with intervals and tests. Empty
            in records of earlier versions.
    """

    table: str
    rows: list[TableRow]
    leads: list[TableRow] = field(default_factory=list)


@dataclass(frozen=True)
class CounterfactualInputs:
    """Coalitions without, or with only, the contributors of highest credit.

    Attributes:
        asked: method, change, and members of the coalition.
        held_out: keys of the measurements of their models.
    """

    asked: list[tuple[str, str, list[str]]]
    held_out: list[str]


@dataclass(frozen=True)
class CounterfactualOutputs:
    """Relative change of the utility by each counterfactual: mean and 95% interval over training seeds; none of one."""

    rows: list[TableRow]


@dataclass(frozen=True)
class OwnImagesInputs:
    """What the training images of each contributor are measured by.

    Attributes:
        train, classifier, reference: digests of the training images, of the classifier and of held-out images.
        properties: names, as in a configuration.
    """

    train: str
    classifier: str
    reference: str
    properties: list[str]


@dataclass(frozen=True)
class OwnImagesOutputs:
    """Properties of the training images of each contributor.

    Attributes:
        images: their number, by contributor.
        values: by property and contributor; None where a contributor has too few images for it.
    """

    images: dict[str, int]
    values: dict[str, dict[str, float | None]]
    busy_seconds: float


ATTRIBUTE = Stage("attribute", AttributeInputs, AttributeOutputs)
LDS = Stage("lds", LdsInputs, LdsOutputs)
COUNTERFACTUAL = Stage("counterfactual", CounterfactualInputs, CounterfactualOutputs)
OWN_IMAGES = Stage("own-images", OwnImagesInputs, OwnImagesOutputs)

Attributed = Finished[AttributeInputs, AttributeOutputs]
Scored = Finished[LdsInputs, LdsOutputs]
Compared = Finished[CounterfactualInputs, CounterfactualOutputs]
OwnImages = Finished[OwnImagesInputs, OwnImagesOutputs]
