"""The configuration of a detection of faulty items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from royalty.tasks.config.base import RunName, StageConfig
from royalty.tasks.config.encoding import FeatureEncoding
from royalty.tasks.config.sources import TrainingItems


class DetectSettings(StageConfig):
    """The settings that scores depend on; see `royalty.models.valuation.detector.detect_items`.

    Attributes:
        trim: fraction of the items of each label that judge no others, without validation.
        unseen_label: a training label that validation lacks is an error, or gives the lowest score (`worst`).
    """

    encoding: FeatureEncoding = FeatureEncoding()
    fdr: Annotated[float, Field(gt=0, lt=1)] = 0.1
    by_class: bool = True
    neighbours: Annotated[int, Field(ge=1)] = 3
    trim: Annotated[float, Field(ge=0, lt=0.5)] = 0.2
    unseen_label: Literal["error", "worst"] = "error"
    seed: Annotated[int, Field(ge=0)] = 0


class DetectConfig(DetectSettings, TrainingItems):
    """Configuration of a detection.

    Attributes:
        name: name of the detection.
        train: items to check; a folder, Parquet file or `.npz` file.
        val: clean items to check them by; None: they are checked by each other.
    """

    name: RunName = "detect"
    train: Path
    val: Path | None = None

    @property
    def settings(self) -> DetectSettings:
        """The settings that scores depend on."""
        return DetectSettings.model_validate(self.model_dump(include=set(DetectSettings.model_fields)))

    @model_validator(mode="after")
    def _by_validation(self) -> DetectConfig:
        if self.val is not None and "trim" in self.model_fields_set:
            raise ValueError("`trim` is for detection without validation, and `val` is given; leave one of them out")
        if self.val is None and self.encoding.trained_here:
            raise ValueError(
                f"`encoding.encoder: {self.encoding.encoder}` is trained on validation, and there is no `val`. Choose "
                "another encoder, or give `val`"
            )
        if self.val is None and self.unseen_label != "error":
            raise ValueError("`unseen_label` is for labels that validation lacks, and there is no `val`; leave it out")
        return self
