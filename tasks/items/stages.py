"""The stages that value single items, and match generated images with them: what each takes, and what it gives.

A field that is a digest names an artifact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from royalty.tasks.config.encoding import EncodingConfig
from royalty.tasks.config.matching import GrandMatching, Matching
from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class ReadInputs:
    """Items to be read.

    Attributes:
        files: digest of what the source holds, wherever it lies.
        size: side of the squares that images become.
        attributes: names of columns.
        needed: the columns have to be there.
        table: digest of the table that has them, where there is one.
    """

    files: str
    size: int
    attributes: list[str] = field(default_factory=list)
    needed: bool = True
    table: str | None = None


@dataclass(frozen=True)
class LocatedSource:
    """The inputs, and the path of the source that has them."""

    path: str
    inputs: ReadInputs


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
class ColourInputs:
    """Digest of items whose images are greyscale."""

    items: str


@dataclass(frozen=True)
class EncoderInputs:
    """Digest of labelled images, and the classifier that is trained on them."""

    val: str
    encoding: EncodingConfig
    seed: int


@dataclass(frozen=True)
class EncoderOutputs:
    """Digest of the classifier, whose last activations are features."""

    model: str
    busy_seconds: float


@dataclass(frozen=True)
class EmbedInputs:
    """Digest of items, and what embeds their images.

    Attributes:
        encoder: its name.
        model: digest of its weights, if it was trained here; else "".
    """

    items: str
    encoder: str
    model: str


@dataclass(frozen=True)
class EmbedOutputs:
    """Images that are embedded.

    Attributes:
        encoder: key of their embeddings, which are kept by it.
        embedded: how many of the images were not embedded before.
    """

    encoder: str
    embedded: int
    busy_seconds: float


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
class ValueInputs:
    """What items are valued by, and the items.

    Attributes:
        config: settings that change values; see `royalty.tasks.config.values.ValueSettings`.
        plan, agreement, shares: digests of the parts of a valuation that was divided; None of one that was not.
        kept: batches whose transports an earlier valuation had solved; None of a valuation that was not divided.
    """

    config: Mapping[str, Any]
    sides: Sides
    plan: str | None = None
    agreement: str | None = None
    shares: list[str] | None = None
    kept: int | None = None


@dataclass(frozen=True)
class ValueOutputs:
    """Digest of the table of values (Parquet), in the order of the items, and the diagnostics of the method."""

    table: str
    items: int
    diagnostics: dict[str, Any]
    busy_seconds: float


@dataclass(frozen=True)
class Kept:
    """The plan that a valuation extends; empty in one that starts anew.

    Attributes:
        plan, train: digests of the plan, and of the training items that it divides.
        shares, parts: of that plan; see `PlanOutputs`.
    """

    plan: str = ""
    train: str = ""
    shares: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PlanInputs:
    """What items are valued by, the items, and the plan to extend."""

    config: Mapping[str, Any]
    sides: Sides
    kept: Kept = Kept()


@dataclass(frozen=True)
class PlanOutputs:
    """SAVA's plan, and its shares, each of some batches of training items.

    Attributes:
        plan: digest of the plan.
        ground: digest of that part of it which transports of any training batch have in common.
        shares: digest of the names of the items of each share.
        parts: digest of the features and labels of the items of each share.
        batches: how many batches each share has.
        kept: batches of the plan that was extended.
    """

    plan: str
    ground: str
    shares: list[str]
    kept: int
    busy_seconds: float
    parts: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class SolveInputs:
    """Digests of what transports have in common, and of the batches of a share."""

    ground: str
    batches: str


@dataclass(frozen=True)
class SolveOutputs:
    """Digest of the transport costs and potentials of a share."""

    share: str
    busy_seconds: float


@dataclass(frozen=True)
class AgreeInputs:
    """Digests of the plan, and of the transport costs and potentials of all shares."""

    plan: str
    shares: list[str]


@dataclass(frozen=True)
class AgreeOutputs:
    """Digest of the mean potentials, and of the transport of batches."""

    agreement: str


@dataclass(frozen=True)
class ShareValueInputs:
    """Digests of what transports have in common, of the mean potentials, and of the batches of a share.

    Attributes:
        first: number of the first of these batches.
    """

    ground: str
    agreement: str
    batches: str
    first: int


@dataclass(frozen=True)
class ShareValueOutputs:
    """Digest of the values of a share."""

    values: str
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
    matching: Matching | GrandMatching
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
    busy_seconds: float
    sides: dict[str, str] = field(default_factory=dict)


READ_ITEMS = Stage("read-items", ReadInputs, ItemsOutputs)
COLOUR = Stage("colour", ColourInputs, ItemsOutputs)
TRAIN_ENCODER = Stage("train-encoder", EncoderInputs, EncoderOutputs)
EMBED = Stage("embed", EmbedInputs, EmbedOutputs)
VALUE = Stage("value", ValueInputs, ValueOutputs)
PLAN_SHARES = Stage("plan-shares", PlanInputs, PlanOutputs)
SOLVE_SHARE = Stage("solve-share", SolveInputs, SolveOutputs)
AGREE_SHARES = Stage("agree-shares", AgreeInputs, AgreeOutputs)
VALUE_SHARE = Stage("value-share", ShareValueInputs, ShareValueOutputs)
MATCH = Stage("gmvaluator", MatchInputs, MatchOutputs)

ItemsRead = Finished[ReadInputs, ItemsOutputs]
Coloured = Finished[ColourInputs, ItemsOutputs]
EncoderTrained = Finished[EncoderInputs, EncoderOutputs]
Embedded = Finished[EmbedInputs, EmbedOutputs]
Valued = Finished[ValueInputs, ValueOutputs]
Planned = Finished[PlanInputs, PlanOutputs]
Solved = Finished[SolveInputs, SolveOutputs]
Agreed = Finished[AgreeInputs, AgreeOutputs]
ShareValued = Finished[ShareValueInputs, ShareValueOutputs]
Matched = Finished[MatchInputs, MatchOutputs]
