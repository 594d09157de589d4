"""The configuration of a valuation of items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from royalty.models.base.choices import EncoderName, Representation
from royalty.tasks.config.base import Rate, RunName, StageConfig, Steps

if TYPE_CHECKING:
    from royalty.models.valuation.batches import Batching
    from royalty.models.valuation.ground import Options

ValueMethod = Literal["lava", "sava", "knn-shapley"]


class EncodingConfig(StageConfig):
    """How images become vectors; features that are given stay as they are.

    Attributes:
        encoder: of the registry; or `preact-resnet18`, a classifier that is trained on the validation images.
        width, steps: of that classifier: channels of its first stage, and steps of training.
        representation: see `royalty.models.encoders.representation`.
        size: side of the square that images are resized to when they are read.
    """

    encoder: EncoderName | Literal["preact-resnet18"] = "efficientnet-lite0"
    width: Annotated[int, Field(ge=4, le=128)] = 16
    steps: Steps = 600
    representation: Representation = "both"
    size: Annotated[int, Field(ge=8, le=512)] = 32


class Valuing(StageConfig):
    """Settings of the methods.

    Attributes:
        label_weight, feature_weight, epsilon, tolerance, max_iterations: see
            `royalty.models.valuation.lava.lava_values`.
        batch_size, stratify: of SAVA; see `royalty.models.valuation.sava.sava_values`.
        neighbours: of KNN-Shapley.
    """

    label_weight: Annotated[float, Field(ge=0)] = 1.5
    feature_weight: Rate = 1.0
    epsilon: Rate = 0.1
    tolerance: Annotated[float, Field(gt=0, lt=2)] = 1e-3
    max_iterations: Annotated[int, Field(ge=1)] = 500
    batch_size: Annotated[int, Field(ge=1)] = 1024
    stratify: bool = True
    neighbours: Annotated[int, Field(ge=1)] = 5

    @property
    def options(self) -> Options:
        from royalty.models.valuation.ground import Options  # imports torch; so below

        return Options(self.label_weight, self.feature_weight, self.epsilon, self.tolerance, self.max_iterations)


class ValueSettings(StageConfig):
    """The method and all that values depend on, apart from the items.

    Attributes:
        unseen_label: a training label that validation lacks is an error, or gives the lowest value.
    """

    method: ValueMethod
    encoding: EncodingConfig = EncodingConfig()
    valuing: Valuing = Valuing()
    unseen_label: Literal["error", "worst"] = "error"
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def batching(self) -> Batching:
        from royalty.models.valuation.batches import Batching

        return Batching(self.valuing.batch_size, self.valuing.stratify, self.seed)


class ValueConfig(ValueSettings):
    """One valuation: items to value, clean items to value them by, and the method."""

    name: RunName
    train: Path
    val: Path

    @property
    def settings(self) -> ValueSettings:
        """The part that values depend on."""
        return ValueSettings.model_validate(self.model_dump(include=set(ValueSettings.model_fields)))
