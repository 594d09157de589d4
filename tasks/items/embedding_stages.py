"""Inputs and outputs of the stages that embed images, in one process or in shares. Digests identify artifacts."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class EmbedInputs:
    """Digest of items, and the encoder of their images.

    Attributes:
        encoder: name of the encoder.
        model: digest of its weights if it was trained here; else "".
        resolution: side in pixels at which it sees images; None: its default.
    """

    items: str
    encoder: str
    model: str
    resolution: int | None = None


@dataclass(frozen=True)
class EmbedOutputs:
    """Embedded images.

    Attributes:
        encoder: key of their embeddings in the store.
        embedded: number of images that were not embedded before.
    """

    encoder: str
    embedded: int
    busy_seconds: float


@dataclass(frozen=True)
class EmbedShareInputs:
    """A share of the images that have no embedding.

    Attributes:
        rows: digest of the rows of these images, int64, `(images,)`.
        first, last: the share is the rows from the first to before the last.
    """

    images: EmbedInputs
    rows: str
    first: int
    last: int


@dataclass(frozen=True)
class EmbedShareOutputs:
    """Digest of the features of a share, float32, `(images, dimensions)`."""

    features: str
    busy_seconds: float


EMBED = Stage("embed", EmbedInputs, EmbedOutputs)
EMBED_SHARE = Stage("embed-share", EmbedShareInputs, EmbedShareOutputs)

Embedded = Finished[EmbedInputs, EmbedOutputs]
ShareEmbedded = Finished[EmbedShareInputs, EmbedShareOutputs]
