"""The stages that value single items, and match generated images with them: what each takes, and what it gives.

A field that is a digest names an artifact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from royalty.tasks.config.matching import Matching
from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class Sides:
    """Digests of the items of both sides of a valuation.

    Attributes:
        encoder: name of what embedded them; "" where they are features.
    """

    train: str
    val: str
    encoder: str = ""


@dataclass(frozen=True)
class ItemsOutputs:
    """Items that are kept.

    Attributes:
        items: digest.
        shape: channels, height and width of their images; None where they are features.
        labelled: whether they have labels.
        attributes: names of the attributes that are known of them.
    """

    items: str
    count: int
    shape: list[int] | None
    labelled: bool
    attributes: list[str]


@dataclass(frozen=True)
class ValueInputs:
    """What items are valued by, and the items.

    Attributes:
        config: settings that change values.
        plan, agreement, shares: digests of the parts of a valuation that was divided; None of one that was not.
    """

    config: Mapping[str, Any]
    sides: Sides
    plan: str | None = None
    agreement: str | None = None
    shares: list[str] | None = None


@dataclass(frozen=True)
class ValueOutputs:
    """Digest of the table of values (Parquet), in the order of the items, and the diagnostics of the method."""

    table: str
    items: int
    diagnostics: dict[str, Any]
    busy_seconds: float


@dataclass(frozen=True)
class MatchInputs:
    """Generated images and training items, to be matched.

    Attributes:
        train: digest of the items, or of the image set that trained the model.
        generated: digest of generated items; None where the model makes them.
        encoder: key of the embeddings of both sides; "" where items are features, None where the model makes them.
        model, images, sampling, seed: of the generator that makes the images, if they are made.
    """

    train: str
    matching: Matching
    generated: str | None = None
    encoder: str | None = None
    model: str | None = None
    images: int | None = None
    sampling: Mapping[str, Any] | None = None
    seed: int | None = None


@dataclass(frozen=True)
class MatchOutputs:
    """Digests of the tables of values and of contributions, as Parquet.

    Attributes:
        contributors: value by contributor, the highest first; None where the items have none.
        sides: digests of the items of both sides, `train` and `generated`.
    """

    table: str
    contributions: str
    contributors: dict[str, float] | None
    items: int
    generated: int
    diagnostics: dict[str, Any]
    sides: dict[str, str]
    busy_seconds: float


VALUE = Stage("value", ValueInputs, ValueOutputs)
MATCH = Stage("gmvaluator", MatchInputs, MatchOutputs)

Matched = Finished[MatchInputs, MatchOutputs]
Valued = Finished[ValueInputs, ValueOutputs]
