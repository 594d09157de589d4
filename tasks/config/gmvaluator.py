"""The configuration of a match of generated images with training images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from royalty.tasks.config.base import RunName
from royalty.tasks.config.matching import Matching
from royalty.tasks.config.sources import TrainingItems


class GMValuatorConfig(TrainingItems):
    """A match of generated images with the training images of their generator.

    Attributes:
        name: name of the valuation.
        train: training images to value; a folder, Parquet file or `.npz` file.
        generated: generated images; a folder, Parquet file or `.npz` file.
        matching: how generated images are matched.
        size: side of the squares that images are resized to, in pixels; None: that of the files, up to 224, and if the
            images of one side are smaller, theirs.
    """

    name: RunName
    train: Path
    generated: Path
    matching: Matching = Matching()
    size: Annotated[int, Field(ge=8, le=512)] | None = None
