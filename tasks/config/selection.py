"""The configuration of a selection of training items within a budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from royalty.tasks.config.base import RunName, StageConfig
from royalty.tasks.config.encoding import EncodingConfig
from royalty.tasks.config.sources import TrainingItems


class SelectSettings(StageConfig):
    """The settings that a selection depends on; see `royalty.models.valuation.selection.select_items`.

    Attributes:
        copies: near copies of an image are selected after each other image is (`grouped`), or like any image
            (`separate`). Equal items are always grouped.
    """

    budget: Annotated[int, Field(ge=1)]
    method: Literal["transport", "value", "random"] = "transport"
    encoding: EncodingConfig = EncodingConfig()
    copies: Literal["grouped", "separate"] = "grouped"
    label_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.5
    feature_weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0


class SelectConfig(SelectSettings, TrainingItems):
    """Configuration of a selection.

    Attributes:
        name: name of the selection.
        train: items to select from; a folder, Parquet file or `.npz` file.
        val: clean items that the selection stands for.
    """

    name: RunName = "select"
    train: Path
    val: Path

    @property
    def settings(self) -> SelectSettings:
        """The settings that the selection depends on."""
        return SelectSettings.model_validate(self.model_dump(include=set(SelectSettings.model_fields)))
