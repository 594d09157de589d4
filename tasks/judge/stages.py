"""The stages that judge credit by models retrained on held-out coalitions: what each takes, and what it gives.

A field that is a digest names an artifact.
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
        images: that the base model makes for them.
        timesteps: of the noise, evenly spaced, at which gradients are averaged.
        projection: dimensions to which gradients are projected at random.
        damping: added to the diagonal of their second moments.
    """

    images: int
    timesteps: int
    projection: int
    damping: float


@dataclass(frozen=True)
class AttributeInputs:
    """What the paper's baselines attribute generated images by.

    Attributes:
        train, base, classifier: digests of the training images, of the base model, and of the judge.
        reference: digest of the real images that the property may compare with.
        sampling: `images` that the base model makes, and how.
    """

    train: str
    base: str
    classifier: str
    reference: str
    property: str
    sampling: Mapping[str, Any]
    gradients: Gradients
    seed: int


@dataclass(frozen=True)
class AttributeOutputs:
    """By method, a score of each contributor, higher is more valuable, and the seconds that the method took."""

    scores: dict[str, list[float]]
    seconds: dict[str, float]
    busy_seconds: float


@dataclass(frozen=True)
class LdsInputs:
    """Credits to be judged, and the measurements by which they are.

    Attributes:
        credits: method, number of coalitions trained for it, and credit: of each contributor, or, where held-out
            coalitions are predicted by different credits, a row of those for each coalition.
        held_out: keys of the measurements of held-out models.
        nulls: utility of nobody, as each method has it; None if it has none. Empty in records of earlier versions.
        alphas: sizes of the held-out coalitions as shares of all contributors. Empty in those records, too.
    """

    credits: list[tuple[str, int, list[float] | list[list[float]]]]
    held_out: list[str]
    nulls: list[float | None] = field(default_factory=list)
    alphas: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class LdsOutputs:
    """The table of LDS, by method and size of the coalitions, and its digest (Parquet)."""

    table: str
    rows: list[TableRow]


@dataclass(frozen=True)
class CounterfactualInputs:
    """Coalitions without, or with only, the contributors of highest credit.

    Attributes:
        asked: method, what was done, and the members of the coalition.
        held_out: keys of the measurements of their models.
    """

    asked: list[tuple[str, str, list[str]]]
    held_out: list[str]


@dataclass(frozen=True)
class CounterfactualOutputs:
    """Relative change of the utility by each counterfactual: mean and range over training seeds."""

    rows: list[TableRow]


ATTRIBUTE = Stage("attribute", AttributeInputs, AttributeOutputs)
LDS = Stage("lds", LdsInputs, LdsOutputs)
COUNTERFACTUAL = Stage("counterfactual", CounterfactualInputs, CounterfactualOutputs)

Attributed = Finished[AttributeInputs, AttributeOutputs]
Scored = Finished[LdsInputs, LdsOutputs]
Compared = Finished[CounterfactualInputs, CounterfactualOutputs]
