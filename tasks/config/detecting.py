"""The configuration of a detection of faulty items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from royalty.tasks.config.base import RunName, StageConfig
from royalty.tasks.config.encoding import FeatureEncoding
from royalty.tasks.config.sources import TrainingItems


class DetectSettings(StageConfig):
    """The settings that scores depend on; see `royalty.models.valuation.detector.detect_items`.

    Attributes:
        unseen_label: a training label that validation lacks is an error, or gives the lowest score (`worst`).
    """

    encoding: FeatureEncoding = FeatureEncoding()
    fdr: Annotated[float, Field(gt=0, lt=1)] = 0.1
    by_class: bool = True
    neighbours: Annotated[int, Field(ge=1)] = 3
    unseen_label: Literal["error", "worst"] = "error"
    seed: Annotated[int, Field(ge=0)] = 0


class DetectConfig(DetectSettings, TrainingItems):
    """Configuration of a detection.

    Attributes:
        name: name of the detection.
        train: items to check; a folder, Parquet file or `.npz` file.
        val: clean items to check them by.
    """

    name: RunName = "detect"
    train: Path
    val: Path

    @property
    def settings(self) -> DetectSettings:
        """The settings that scores depend on."""
        return DetectSettings.model_validate(self.model_dump(include=set(DetectSettings.model_fields)))
