"""The configuration of an evaluation by the criteria of the GMValuator paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from royalty.models.base.registry import Entry, entries_of
from royalty.models.distances.registry import DISTANCES
from royalty.models.encoders.registry import ENCODERS
from royalty.models.quality.registry import QUALITIES
from royalty.tasks.config.base import Rate, RunName, Share, StageConfig, Steps
from royalty.tasks.config.choices import EncoderChoice, JudgeChoice, RerankChoice
from royalty.tasks.config.matching import Matching, Resolution

GeneratorName = Literal["ddpm", "beta-vae", "dcgan", "conditional-ddpm"]
GENERATORS: tuple[GeneratorName, ...] = ("ddpm", "beta-vae", "dcgan")
"""The generators that are trained unless others are named."""

Split = Literal["random", "clusters"]
"""Halves of a class: drawn at random, or separated by k-means."""

ATTRIBUTES = {
    "loop": ("0", "6", "8", "9"),
    "even": ("0", "2", "4", "6", "8"),
    "above-four": ("5", "6", "7", "8", "9"),
}
"""Attributes of digits: by name, the digits that have it."""


class GeneratorSteps(StageConfig):
    """Training steps of each generator; the other settings are in `royalty.tasks.benchmarks.generator_stages`."""

    ddpm: Steps = 800
    beta_vae: Steps = 1600
    dcgan: Steps = 1000
    conditional_ddpm: Steps = 3000

    def of(self, generator: GeneratorName) -> int:
        """Training steps of a generator."""
        return int(getattr(self, generator.replace("-", "_")))


class TracInConfig(StageConfig):
    """Settings of VAE-TracIn; see `royalty.models.valuation.vae_tracin.vae_tracin_scores`.

    Attributes:
        checkpoints: number of checkpoints of the beta-VAE, evenly spaced over its training.
        draws: random draws over which gradients are averaged.
    """

    checkpoints: Annotated[int, Field(ge=1, le=100)] = 3
    draws: Annotated[int, Field(ge=1)] = 4


class MethodsConfig(StageConfig):
    """The valuation methods that are judged.

    Attributes:
        ks: how many of the most valuable items of a generated image are checked; the largest is `k` of the valuation.
        rerank: distances that rank the nearest items again, each a method of its own.
        encoder, quality, temperature, resolution: see `royalty.tasks.config.matching.Matching`.
        tracin: VAE-TracIn, which is compared for the beta-VAE; None leaves it out.
    """

    ks: Annotated[tuple[Steps, ...], Field(min_length=1)] = (30, 50, 100)
    rerank: Annotated[tuple[RerankChoice, ...], Field(min_length=1)] = ("none", "l2", "encoder")
    encoder: EncoderChoice = "efficientnet-lite0"
    quality: JudgeChoice = "realism"
    temperature: Rate | None = None
    resolution: Resolution | None = None
    tracin: TracInConfig | None = TracInConfig()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is chosen from the registries; see `royalty.tasks.config.matching.Matching`."""
        reranks = [(name, DISTANCES) for name in self.rerank]
        return entries_of((self.encoder, ENCODERS), (self.quality, QUALITIES), *reranks)


class CriteriaConfig(MethodsConfig):
    """Labelled training images, generated images or generators, and the settings of each criterion.

    Attributes:
        train: labelled training images; None: the 5,000 MNIST digits of `royalty.models.data.mnist`.
        generated: images taken as generated; None: images of `generators`, which are trained. Labels are used as the
            classes of the images; without labels a classifier finds the classes.
        size: side of the squares that images are resized to, in pixels; the MNIST digits keep their 28 pixels.
        items: training images drawn, the same fraction of each class; None: all.
        generators: generators that are trained and judged; `conditional-ddpm` is told the class, and needs labels.
        steps: training steps of each generator.
        images: generated images for identity, attributes and efficiency; given images are all used.
        valued_by: generated images by which all items are valued, for membership and outliers.
        classifier: training steps of the classifier that finds the classes of generated images.
        confident: smallest probability by this classifier of the class of a generated image; images of which it is less
            sure are not judged. None: all are.
        attributes: by name, the labels that have the attribute.
        attribute_columns: columns of `train` that say which image has which attribute, in place of `attributes`; see
            `royalty.models.data.attributes`. If `generated` lacks them, a classifier finds each attribute.
        halved: label of the class half of which is held out of training; None: the first.
        split: the half that is held out, for membership: a `random` one, or the one that k-means separates from the
            other (`clusters`), as the paper does. Clusters differ by themselves, by real images as by generated ones.
        noisy: fraction of the training images that noise is planted in.
        removed: fraction of the training images, those valued highest, without which generators are trained again.
        retrainings: seeds with which each of these generators is trained.
        single: generated images, three or more, for each of which generators are trained again without the items behind
            it, for each method and seed; 0: none.
    """

    name: RunName = "criteria"
    train: Path | None = None
    generated: Path | None = None
    size: Annotated[int, Field(ge=8, le=512, multiple_of=4)] = 32
    items: Annotated[int, Field(ge=20)] | None = None
    generators: Annotated[tuple[GeneratorName, ...], Field(min_length=1)] = GENERATORS
    steps: GeneratorSteps = GeneratorSteps()
    images: Annotated[int, Field(ge=2)] = 100
    valued_by: Annotated[int, Field(ge=2)] = 1000
    classifier: Steps = 1000
    confident: Annotated[float, Field(gt=0, lt=1)] | None = None
    attributes: Mapping[str, tuple[str, ...]] = ATTRIBUTES
    attribute_columns: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    halved: str | None = None
    split: Split = "random"
    noisy: Share = 0.02
    removed: Annotated[float, Field(gt=0, lt=1)] = 0.05
    retrainings: Annotated[int, Field(ge=1, le=20)] = 3
    single: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    def matching(self, rerank: str, *, quality: str | None = None) -> Matching:
        """Matching settings of one method.

        Args:
            quality: replaces the configured quality.
        """
        return Matching(
            encoder=self.encoder,
            rerank=rerank,
            quality=quality or self.quality,
            k=max(self.ks),
            temperature=self.temperature,
            resolution=self.resolution,
            copies="separate",  # the criteria compare with the paper, whose sets have no copies
        )

    @property
    def methods(self) -> MethodsConfig:
        """The settings that the methods depend on."""
        return MethodsConfig.model_validate(self.model_dump(include=set(MethodsConfig.model_fields)))

    @property
    def checkpoints(self) -> int:
        """Number of checkpoints of a beta-VAE."""
        return self.tracin.checkpoints if self.tracin else 1

    @model_validator(mode="after")
    def _columns_of_a_table(self) -> CriteriaConfig:
        if self.attribute_columns and self.train is None:
            raise ValueError("`attribute_columns` are columns of the table of `train`; give it, or leave them out")
        if len(set(self.attribute_columns)) < len(self.attribute_columns):
            raise ValueError(f"each of `attribute_columns` is named once; got {', '.join(self.attribute_columns)}")
        return self

    @model_validator(mode="after")
    def _single_images_are_generated(self) -> CriteriaConfig:
        if 0 < self.single < 3 or self.single > self.images:
            raise ValueError(
                f"`single` is 0, or at least 3 and at most `images`, which are {self.images}; got {self.single}"
            )
        return self

    @model_validator(mode="after")
    def _enough_steps(self) -> CriteriaConfig:
        if self.steps.beta_vae < self.checkpoints:
            raise ValueError(
                f"a beta-VAE takes at least one step for each checkpoint of `tracin`, which are "
                f"{self.checkpoints}; got `steps.beta_vae` = {self.steps.beta_vae}"
            )
        return self
