"""The configuration of a valuation of items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from royalty.tasks.config.base import Rate, RunName, StageConfig
from royalty.tasks.config.encoding import EncodingConfig

if TYPE_CHECKING:
    from royalty.models.valuation.batches import Batching
    from royalty.models.valuation.ground import Options

ValueMethod = Literal["lava", "sava", "knn-shapley"]


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
