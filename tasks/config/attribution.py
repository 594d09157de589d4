"""The configuration of an index of training images, by which generated images are attributed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from royalty.models.base.choices import Division
from royalty.models.base.registry import Entry, entries_of
from royalty.models.base.resolution import resolution_of
from royalty.models.encoders.registry import ENCODERS
from royalty.tasks.config.base import Rate, RunName
from royalty.tasks.config.choices import EncoderChoice
from royalty.tasks.config.matching import Resolution
from royalty.tasks.config.sources import TrainingItems

Code = Literal["SQ8", "PQ64", "RaBitQ"]


class IndexConfig(TrainingItems):
    """An index of the training images of a model. Consent and credentials count for images that are added later, too.

    Attributes:
        model: name of the model that the images trained.
        version: version of that model.
        train: training images; a folder, Parquet file or `.npz` file.
        encoder: encoder in whose embedding the nearest images are found.
        size: side of the squares that images are resized to, in pixels; None: that of the training images, from 8 to
            224.
        resolution: side in pixels at which the encoder sees images, where it takes any; None: five times `size`, from
            64 to 224.
        k: training images that share a generated image.
        temperature: temperature of the shares, in units of the distance of the embedding, in [0, 2]; None: the one at
            which the effective number of images that share a training image is the root of `k`.
        far_rate: fraction of images like the training images that count as unattributable; it sets the distance beyond
            which a generated image is not attributed.
        copies: near copies share one place among the `k` nearest, at the distance of the earliest of them (`grouped`),
            or each has its own (`separate`). Features have no images to compare, so they are always separate.
        division: who of a group of copies has its share: its `earliest` member, or all members the same (`equal`).
        code: code of the vectors in the index, for sets of 20,000 images or more.
    """

    model: RunName
    version: RunName = "1"
    train: Path
    encoder: EncoderChoice = "efficientnet-lite0"
    size: Annotated[int, Field(ge=8, le=512)] | None = None
    resolution: Resolution | None = None
    k: Annotated[int, Field(ge=1, le=10_000)] = 100
    temperature: Rate | None = None
    far_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    copies: Literal["grouped", "separate"] = "grouped"
    division: Division = "earliest"
    code: Code = "SQ8"

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The encoder; it may need weights."""
        return entries_of((self.encoder, ENCODERS))

    def seen_at(self, side: int) -> int:
        """Side in pixels at which the encoder sees images of `side` pixels."""
        return self.resolution or resolution_of(side)
