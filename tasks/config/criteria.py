"""The configuration of an evaluation by the criteria of GMValuator's paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from royalty.models.base.choices import EncoderName, JudgeName, RerankName
from royalty.tasks.config.base import Rate, RunName, Share, StageConfig, Steps
from royalty.tasks.config.matching import Matching

GeneratorName = Literal["ddpm", "beta-vae", "dcgan"]
GENERATORS: tuple[GeneratorName, ...] = get_args(GeneratorName)

ATTRIBUTES = {
    "loop": ("0", "6", "8", "9"),
    "even": ("0", "2", "4", "6", "8"),
    "above-four": ("5", "6", "7", "8", "9"),
}
"""Of digits: by name, those that have it."""


class GeneratorSteps(StageConfig):
    """Steps of training; the rest of each training is in `royalty.tasks.benchmarks.generator_stages`."""

    ddpm: Steps = 800
    beta_vae: Steps = 1600
    dcgan: Steps = 1000

    def of(self, generator: GeneratorName) -> int:
        return int(getattr(self, generator.replace("-", "_")))


class TracInConfig(StageConfig):
    """Settings of VAE-TracIn; see `royalty.models.valuation.vae_tracin.vae_tracin_scores`.

    Attributes:
        checkpoints: parts that the beta-VAE is trained in, each of which ends with one.
    """

    checkpoints: Annotated[int, Field(ge=1, le=100)] = 3
    draws: Annotated[int, Field(ge=1)] = 4


class MethodsConfig(StageConfig):
    """The methods of valuation that are judged.

    Attributes:
        ks: most valuable items of a generated image that are looked at; the largest is the k of the valuation.
        rerank: distances by which the recalled are ranked again, each a method of its own.
        encoder, quality, temperature: see `royalty.tasks.config.matching.Matching`.
        tracin: VAE-TracIn beside it, for the beta-VAE; None leaves it out.
    """

    ks: Annotated[tuple[Steps, ...], Field(min_length=1)] = (30, 50, 100)
    rerank: Annotated[tuple[RerankName, ...], Field(min_length=1)] = ("none", "l2", "encoder")
    encoder: EncoderName = "efficientnet-lite0"
    quality: JudgeName = "realism"
    temperature: Rate = 1.0
    tracin: TracInConfig | None = TracInConfig()


class CriteriaConfig(MethodsConfig):
    """Training images with labels, generated images or what generates them, and what is asked of their values.

    Attributes:
        train: an image set with labels; None: the 5,000 MNIST digits of `royalty.models.data.mnist`.
        generated: an image set taken as generated; None: images of `generators`, trained here. Its labels, if it has
            them, are the classes of its images, which a classifier finds otherwise.
        size: side of the square that images of a source are resized to; digits keep their 28.
        items: training images drawn, the same share of each class; None: all.
        images: generated images by which identity, attributes and efficiency are judged; given ones are all taken.
        valued_by: generated images by which all items are valued, for membership and outliers.
        classifier: steps of training of the classifier of generated images.
        attributes: by name, the labels that have the attribute.
        attribute_columns: columns of `train` that say of each image whether it has an attribute, in place of
            `attributes`; see `royalty.models.data.attributes`. If `generated` lacks them, a classifier finds each.
        halved: label of the class half of which is held out of training; None: the first.
        noisy: share of the training images that noise is planted in.
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
    attributes: Mapping[str, tuple[str, ...]] = ATTRIBUTES
    attribute_columns: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    halved: str | None = None
    noisy: Share = 0.02
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    def matching(self, rerank: RerankName, *, quality: str | None = None) -> Matching:
        """Settings of one method; `quality` takes the place of the configured one."""
        return Matching(
            encoder=self.encoder,
            rerank=rerank,
            quality=quality or self.quality,  # type: ignore[arg-type]  # which pydantic checks
            k=max(self.ks),
            temperature=self.temperature,
        )

    @property
    def methods(self) -> MethodsConfig:
        """The part that the methods depend on."""
        return MethodsConfig.model_validate(self.model_dump(include=set(MethodsConfig.model_fields)))

    @property
    def checkpoints(self) -> int:
        """Parts that a beta-VAE is trained in."""
        return self.tracin.checkpoints if self.tracin else 1

    @model_validator(mode="after")
    def _columns_of_a_table(self) -> CriteriaConfig:
        if self.attribute_columns and self.train is None:
            raise ValueError("`attribute_columns` are columns of the table of `train`; give it, or leave them out")
        if len(set(self.attribute_columns)) < len(self.attribute_columns):
            raise ValueError(f"each of `attribute_columns` is named once; got {', '.join(self.attribute_columns)}")
        return self

    @model_validator(mode="after")
    def _enough_steps(self) -> CriteriaConfig:
        if self.steps.beta_vae < self.checkpoints:
            raise ValueError(
                f"a beta-VAE takes at least one step to a checkpoint of `tracin`, of which there are "
                f"{self.checkpoints}; got `steps.beta_vae` = {self.steps.beta_vae}"
            )
        return self
