"""The configuration of an evaluation that plants corruptions and looks for them by value."""

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
    "detector",
    "lava",
    "sava",
    "batchwise-lava",
    "knn-shapley",
    "confidence",
    "prototype",
    "el2n",
    "tracin",
    "influence",
    "data-oob",
    "confident-learning",
    "kairos",
    "class-shares",
    "random",
]
METHODS: tuple[Looking, ...] = get_args(Looking)


class PlantingConfig(StageConfig):
    """How much is planted, and how.

    Attributes:
        class_shares: `kept` leaves clean items out until every class has the same share in training as in validation;
            `changed` plants as the papers do, so that class shares alone tell a corruption that adds to a class.
        flipped: fraction of the items whose labels are changed.
        noise: fraction of the items whose pixels are disturbed.
        backdoor: fraction of the items that get a trigger and another label.
        poisoned: number of images that collide with one validation image in feature space.
    """

    class_shares: Literal["kept", "changed"] = "kept"
    flipped: Share = 0.25
    noise: Share = 0.25
    backdoor: Share = 0.05
    poisoned: Annotated[int, Field(ge=1)] = 50


class DetectionSettings(StageConfig):
    """How corruptions are planted in labelled images, and how they are looked for.

    These settings and the images determine the detection rates.

    Attributes:
        items, val_items: most training and validation images drawn; None: all.
        test: fraction of the validation images that no method sees; classifiers are judged by them.
        encoding: how images become vectors.
        valuing: settings of the methods.
        methods: methods that look for the corruptions.
        planting: how much is planted.
        removed: fractions of the items of lowest value without which a classifier is trained.
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
    """Configuration of an evaluation: clean labelled images, the corruptions, and the methods that look for them.

    Attributes:
        train, val: labelled training images, and clean labelled validation images; both None: scikit-learn's digits.
        corruptions: corruptions that are planted, each in turn.
        draws: number of random draws of images and of planted items, from `seed` upwards.
    """

    name: RunName = "detection"
    train: Path | None = None
    val: Path | None = None
    corruptions: tuple[CorruptionName, ...] = CORRUPTIONS
    draws: Annotated[int, Field(ge=1)] = 3

    @property
    def settings(self) -> DetectionSettings:
        """The settings that detection rates depend on."""
        return DetectionSettings.model_validate(self.model_dump(include=set(DetectionSettings.model_fields)))

    @model_validator(mode="after")
    def _both_sides(self) -> DetectionConfig:
        if (self.train is None) != (self.val is None):
            raise ValueError("give `train` and `val`, or neither, which takes scikit-learn's digits")
        return self
