"""The configuration of a distance of two sets of items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from royalty.models.base.choices import SolverName
from royalty.tasks.config.base import RunName, StageConfig
from royalty.tasks.config.encoding import FeatureEncoding
from royalty.tasks.config.sources import TrainingItems


class DistanceSettings(StageConfig):
    """The settings that the distance depends on; see `royalty.models.valuation.set_distance.set_distance`."""

    encoding: FeatureEncoding = FeatureEncoding()
    label_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    feature_weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    tolerance: Annotated[float, Field(gt=0, lt=2)] = 1e-3
    solver: SolverName = "royalty"
    divisions: Annotated[int, Field(ge=0)] = 1
    seed: Annotated[int, Field(ge=0)] = 0


class DistanceConfig(DistanceSettings, TrainingItems):
    """Configuration of a distance.

    Attributes:
        name: name of the comparison.
        first: the items whose parts are computed; a folder, Parquet file or `.npz` file.
        second: the items that they are compared with.
    """

    name: RunName = "distance"
    first: Path
    second: Path

    @property
    def settings(self) -> DistanceSettings:
        """The settings that the distance depends on."""
        return DistanceSettings.model_validate(self.model_dump(include=set(DistanceSettings.model_fields)))
