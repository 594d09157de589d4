"""The configuration of an evaluation of values by planted corruptions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from royalty.models.base.choices import CorruptionName
from royalty.tasks.config.base import RunName, Share, StageConfig
from royalty.tasks.config.encoding import EncodingConfig
from royalty.tasks.config.values import Valuing

CORRUPTIONS: tuple[CorruptionName, ...] = get_args(CorruptionName)
Looking = Literal[
    "lava",
    "sava",
    "batchwise-lava",
    "knn-shapley",
    "confidence",
    "prototype",
    "el2n",
    "tracin",
    "influence",
    "random",
]
METHODS: tuple[Looking, ...] = get_args(Looking)


class PlantingConfig(StageConfig):
    """How much is planted: shares of all items, and images of a feature collision.

    Attributes:
        flipped, noise, backdoor: shares of the items whose labels, pixels, or both are changed.
        poisoned: images that collide with one validation image in feature space.
    """

    flipped: Share = 0.25
    noise: Share = 0.25
    backdoor: Share = 0.05
    poisoned: Annotated[int, Field(ge=1)] = 50


class DetectionSettings(StageConfig):
    """How corruptions are planted in labelled images, and looked for; all that the rates depend on, but the images.

    Attributes:
        items, val_items: how many of each are drawn at most; None: all.
        test: share of the validation items that no method sees; classifiers are judged by them.
        removed: shares of the items of lowest value without which a classifier is trained anew.
    """

    items: Annotated[int, Field(ge=20)] | None = None
    val_items: Annotated[int, Field(ge=20)] | None = None
    test: Share = 0.25
    encoding: EncodingConfig = EncodingConfig()
    valuing: Valuing = Valuing()
    methods: tuple[Looking, ...] = METHODS
    planting: PlantingConfig = PlantingConfig()
    removed: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.1, 0.2, 0.3, 0.4)
    seed: Annotated[int, Field(ge=0)] = 0


class DetectionConfig(DetectionSettings):
    """Clean labelled images, what is planted in them, and which methods look for it.

    Attributes:
        train, val: image sets with labels; None, both: scikit-learn's digits.
    """

    name: RunName = "detection"
    train: Path | None = None
    val: Path | None = None
    corruptions: tuple[CorruptionName, ...] = CORRUPTIONS

    @property
    def settings(self) -> DetectionSettings:
        """The part that a detection depends on."""
        return DetectionSettings.model_validate(self.model_dump(include=set(DetectionSettings.model_fields)))

    @model_validator(mode="after")
    def _both_sides(self) -> DetectionConfig:
        if (self.train is None) != (self.val is None):
            raise ValueError("give `train` and `val`, or neither, which takes scikit-learn's digits")
        return self
