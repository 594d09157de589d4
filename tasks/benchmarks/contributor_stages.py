"""Inputs and outputs of stages that add to criteria: images of one class, poor images, distances by attributes.

Digests identify artifacts. Rows of items are positions in a set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from royalty.tasks.benchmarks.criterion_stages import AttributesInputs, Judged
from royalty.tasks.config.if4gan import IF4GANConfig
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.stages.stage import Finished, Stage, TableRow


@dataclass(frozen=True)
class OfClassInputs:
    """Labelled images, and the label of those that are kept."""

    images: str
    label: str


@dataclass(frozen=True)
class SpoilInputs:
    """Generated images, and the fraction of them that becomes poor.

    Attributes:
        poor: digest of as many poor images, which take the places of others; "" to add noise.
    """

    made: str
    share: float
    poor: str
    seed: int


@dataclass(frozen=True)
class SpoiledOutputs(ItemsOutputs):
    """The images, some of them poor.

    Attributes:
        poor: rows of the poor images.
    """

    poor: list[int]


@dataclass(frozen=True)
class InfluenceInputs:
    """Digests of the training items and of a trained DCGAN, whose last steps are traced by IF4GAN.

    Attributes:
        images: number of generated images that are scored.
    """

    items: str
    model: str
    settings: IF4GANConfig
    images: int
    seed: int


@dataclass(frozen=True)
class InfluenceOutputs:
    """Digest of the values of the training items (Parquet), and processor seconds that they took."""

    table: str
    seconds: float


@dataclass(frozen=True)
class PoorInputs:
    """Matches of images of which some are poor, with and without the quality of images.

    Attributes:
        judged: by GMValuator, all with `uncalibrated`.
        poor: rows of the poor images, by digest of the generated images; none for digests that are missing.
        planted: rows of the training items with noise.
        items: number of training items.
    """

    judged: list[Judged]
    poor: Mapping[str, list[int]]
    planted: list[int]
    items: int


@dataclass(frozen=True)
class PoorOutputs:
    """Ranks of training items with noise, by the fraction of poor images; `with` and without the quality of images."""

    poor: list[TableRow]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"poor-images": self.poor}


@dataclass(frozen=True)
class DistancesInputs:
    """Results of methods, whose most valuable items are compared with generated images by attributes."""

    attributes: AttributesInputs
    seed: int


@dataclass(frozen=True)
class DistancesOutputs:
    """Distances by attributes, for all generated images and for those that have each attribute."""

    distances: list[TableRow]

    @property
    def tables(self) -> dict[str, list[TableRow]]:
        return {"distances": self.distances}


OF_CLASS = Stage("images-of-class", OfClassInputs, ItemsOutputs)
SPOIL = Stage("spoil-images", SpoilInputs, SpoiledOutputs)
IF4GAN = Stage("if4gan", InfluenceInputs, InfluenceOutputs)
POOR = Stage("judge-poor-images", PoorInputs, PoorOutputs)
DISTANCES = Stage("judge-distances", DistancesInputs, DistancesOutputs)

Spoiled = Finished[SpoilInputs, SpoiledOutputs]
PoorJudged = Finished[PoorInputs, PoorOutputs]
DistancesJudged = Finished[DistancesInputs, DistancesOutputs]
