"""Inputs and outputs, with digests of artifacts, of the stages that value items and match generated images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from royalty.models.base.policy import NO_POLICY, Policy
from royalty.models.data.optouts import Withdrawal
from royalty.tasks.config.encoding import EncodingConfig
from royalty.tasks.config.matching import GrandMatching, Matching
from royalty.tasks.items.copied_images import CopiedImage
from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class ReadInputs:
    """Items to read.

    Attributes:
        files: digest of the contents of the source, whatever its path.
        size: side of the squares that images are resized to, in pixels.
        attributes, needed: names of the columns with attributes, and whether missing ones are an error.
        table: digest of the table with these columns; None if there is none.
        names: digest of the file names of the images and their sources, which tables of values show.
        policy, withdrawn: what becomes of images that may not train; works that were withdrawn, if the items train.
    """

    files: str
    size: int
    attributes: list[str] = field(default_factory=list)
    needed: bool = True
    table: str | None = None
    names: str = ""
    policy: Policy = NO_POLICY
    withdrawn: list[Withdrawal] = field(default_factory=list)


@dataclass(frozen=True)
class LocatedSource:
    """A source at its path, with the inputs that describe it."""

    path: str
    inputs: ReadInputs


@dataclass(frozen=True)
class ItemsOutputs:
    """Stored items.

    Attributes:
        items: digest of the items.
        count: number of items.
        shape: channels, height and width of their images; None for features.
        labelled, attributes: whether they have labels; names of their attributes.
    """

    items: str
    count: int
    shape: list[int] | None
    labelled: bool
    attributes: list[str]


@dataclass(frozen=True)
class ReadOutputs(ItemsOutputs):
    """Stored items of a source, and which may not train; see `royalty.models.data.permission.WithRefusals`."""

    withdrawn: dict[str, int] = field(default_factory=dict)
    manifests: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    refused_left_out: bool = False
    tampered: list[str] = field(default_factory=list)
    not_consented: dict[str, int] = field(default_factory=dict)
    not_consented_left_out: bool = False


@dataclass(frozen=True)
class ColourInputs:
    """Digest of items with greyscale images."""

    items: str


@dataclass(frozen=True)
class EncoderInputs:
    """Digest of labelled images, and settings of the classifier trained on them."""

    val: str
    encoding: EncodingConfig
    seed: int


@dataclass(frozen=True)
class EncoderOutputs:
    """Digest of the classifier; its last activations are the features."""

    model: str
    busy_seconds: float


@dataclass(frozen=True)
class Sides:
    """Digests of the items of both sides of a valuation, `val` "" without validation.

    Attributes:
        encoder: key of their embeddings; "" for features.
    """

    train: str
    val: str
    encoder: str = ""


@dataclass(frozen=True)
class ValueInputs:
    """Settings of a valuation, and the items of both sides.

    Attributes:
        config: settings that affect values; see `royalty.tasks.config.values.ValueSettings`.
        plan, agreement, shares: digests of the parts of a valuation in shares; None for one in a single process.
            `shares` are the values of items in the joint form, and the transports in the paper's.
        kept: number of batches whose transports were reused from an earlier valuation; None likewise.
    """

    config: Mapping[str, Any]
    sides: Sides
    plan: str | None = None
    agreement: str | None = None
    shares: list[str] | None = None
    kept: int | None = None


@dataclass(frozen=True)
class ValueOutputs:
    """Digest of the table of values (Parquet), in the order of the items, and the diagnostics of the method.

    Attributes:
        contributors: number of items, sum and mean of their values by contributor, highest sum first; None if the items
            have no contributors.
        val_table: digest of the table of values of the validation items; "" for a method that does not value them.
        notes: sentences on the values that a reader must know.
        batch_table: digest of the table of values of the batches; "" for a method without batches.
        perturbed_table: digest of the table of predicted and actual changes of the distance; "" if none was asked for.
    """

    table: str
    items: int
    diagnostics: dict[str, Any]
    busy_seconds: float
    # Rows of earlier versions lack these.
    contributors: list[dict[str, Any]] | None = None
    val_table: str = ""
    notes: list[str] = field(default_factory=list)
    batch_table: str = ""
    perturbed_table: str = ""


@dataclass(frozen=True)
class DetectItemsInputs:
    """Settings of a detection (`royalty.tasks.config.detecting.DetectSettings`), and the items of both sides."""

    config: Mapping[str, Any]
    sides: Sides


@dataclass(frozen=True)
class DetectItemsOutputs:
    """Digest of the table of scores (Parquet), in the order of the items.

    Attributes:
        flagged: number of flagged items.
        notes, diagnostics: sentences on the result that a reader must know; diagnostics of the detector.
    """

    table: str
    items: int
    flagged: int
    notes: list[str]
    diagnostics: dict[str, Any]
    busy_seconds: float


@dataclass(frozen=True)
class Kept:
    """The earlier plan that a valuation extends; empty for a new valuation.

    Attributes:
        plan, train: digests of the plan and of its training items.
        shares, parts: see `PlanOutputs`.
    """

    plan: str = ""
    train: str = ""
    shares: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PlanInputs:
    """Settings of a valuation, the items of both sides, and the earlier plan to extend."""

    config: Mapping[str, Any]
    sides: Sides
    kept: Kept = Kept()


@dataclass(frozen=True)
class PlanOutputs:
    """SAVA's plan, divided into shares of training batches.

    Attributes:
        plan: digest of the plan.
        ground: digest of the part of the plan that the transports of all training batches use.
        shares: digests of the names of the items, one for each share.
        parts: digests of the features and labels of the items, one for each share.
        batches: number of batches of each share.
        kept: number of batches from the plan that was extended.
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
    """Digests of the common part of the plan, and of the batches of a share."""

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
    """Digests of the common part of the plan, the mean potentials, and the batches of a share.

    Attributes:
        first: index of the first of these batches.
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
    """Training items and generated images to match.

    Attributes:
        train: digest of the items, or of the image set that the model was trained on.
        generated: digest of generated items; None if a model generates them.
        encoder: key of the embeddings of both sides; "" for features, None if a model generates the images.
        model, images, sampling, seed: digest of the generator, number of images, and how they are sampled; or None.
        listed: digest of the table of listed images of that image set; "" for images without files.
        held_out: digest of items or images that were not trained on, to test generated ones for copies; "" tests none.
    """

    train: str
    matching: Matching | GrandMatching
    generated: str | None = None
    encoder: str | None = None
    model: str | None = None
    images: int | None = None
    sampling: Mapping[str, Any] | None = None
    seed: int | None = None
    listed: str = ""
    held_out: str = ""


@dataclass(frozen=True)
class MatchOutputs:
    """Digests of the tables of values and of contributions, as Parquet.

    Attributes:
        contributors: value by contributor, highest first; None if the items have no contributors.
        sides, contributor_errors: digests of `train` and `generated` items; standard errors of these values.
    """

    table: str
    contributions: str
    contributors: dict[str, float] | None
    items: int
    generated: int
    diagnostics: dict[str, Any]
    busy_seconds: float
    sides: dict[str, str] = field(default_factory=dict)
    contributor_errors: dict[str, float] = field(default_factory=dict)
    copied: list[CopiedImage] = field(default_factory=list)


READ_ITEMS = Stage("read-items", ReadInputs, ReadOutputs)
COLOUR = Stage("colour", ColourInputs, ItemsOutputs)
TRAIN_ENCODER = Stage("train-encoder", EncoderInputs, EncoderOutputs)
VALUE = Stage("value", ValueInputs, ValueOutputs)
DETECT_ITEMS = Stage("detect-items", DetectItemsInputs, DetectItemsOutputs)
PLAN_SHARES = Stage("plan-shares", PlanInputs, PlanOutputs)
SOLVE_SHARE = Stage("solve-share", SolveInputs, SolveOutputs)
AGREE_SHARES = Stage("agree-shares", AgreeInputs, AgreeOutputs)
VALUE_SHARE = Stage("value-share", ShareValueInputs, ShareValueOutputs)
MATCH = Stage("gmvaluator", MatchInputs, MatchOutputs)

ItemsRead = Finished[ReadInputs, ReadOutputs]
Coloured = Finished[ColourInputs, ItemsOutputs]
EncoderTrained = Finished[EncoderInputs, EncoderOutputs]
Valued = Finished[ValueInputs, ValueOutputs]
ItemsDetected = Finished[DetectItemsInputs, DetectItemsOutputs]
Planned = Finished[PlanInputs, PlanOutputs]
Solved = Finished[SolveInputs, SolveOutputs]
Agreed = Finished[AgreeInputs, AgreeOutputs]
ShareValued = Finished[ShareValueInputs, ShareValueOutputs]
Matched = Finished[MatchInputs, MatchOutputs]
