"""The whole configuration of an evaluation by criteria.

The keys of trained generators cover `royalty.tasks.config.criteria`, which their workers import. No worker imports this
file, so a setting that is added here repeats no training.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from royalty.models.judging.datamodeling import MIN_RANKED
from royalty.tasks.config.criteria import CriteriaConfig
from royalty.tasks.config.if4gan import IF4GANConfig

PoorBy = Literal["noise", "early"]
"""Images of low quality: with noise, or of the generator early in its training."""

FIRST_SUBSET = 1000
"""Seeds of subsets begin this far above the seed of the evaluation."""


class CriteriaSettings(CriteriaConfig):
    """Settings of tables that criteria have besides their own.

    Attributes:
        label: label of the only class of which generated images are judged, for identity; None: all classes are.
        poor: fractions of the generated images that are made poor, for outliers: noisy training images are then ranked
            with and without the quality of images, for each fraction and for none. Empty: quality is not tested.
        poor_by: `noise`, as in the training images; or `early`, images of the same generator after a tenth of its
            steps.
        if4gan: IF4GAN, which is compared for the DCGAN, for outliers and efficiency; None leaves it out.
        subsets: random subsets of the training images, three or more, on each of which generators are trained again
            with each seed of `retrainings`, for causes; 0: none.
        kept: fraction of the training images in each of these subsets.
    """

    label: Annotated[str, Field(min_length=1)] | None = None
    poor: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    poor_by: PoorBy = "noise"
    if4gan: IF4GANConfig | None = None
    subsets: Annotated[int, Field(ge=0, le=200)] = 0
    kept: Annotated[float, Field(gt=0, lt=1)] = 0.5

    @property
    def subset_seeds(self) -> range:
        """Seeds of the random subsets, other ones than those of random removals."""
        return range(self.seed + FIRST_SUBSET, self.seed + FIRST_SUBSET + self.subsets)

    @model_validator(mode="after")
    def _quality_is_judged(self) -> CriteriaSettings:
        if self.poor and self.quality == "none":
            raise ValueError("`poor` tests the weight of quality, and `quality` is none; name one, such as `realism`")
        if len(set(self.poor)) < len(self.poor):
            raise ValueError(f"each fraction of `poor` is given once; got {', '.join(map(str, self.poor))}")
        return self

    @model_validator(mode="after")
    def _influence_is_of_a_gan(self) -> CriteriaSettings:
        if self.if4gan and "dcgan" not in self.generators:
            raise ValueError(f"`if4gan` traces the DCGAN, and `generators` are {', '.join(self.generators)}; add dcgan")
        return self

    @model_validator(mode="after")
    def _subsets_are_ranked(self) -> CriteriaSettings:
        if 0 < self.subsets < MIN_RANKED:
            raise ValueError(
                f"a rank correlation needs at least {MIN_RANKED} subsets; got `subsets` = {self.subsets}. Use more, or "
                "0 for none"
            )
        return self
