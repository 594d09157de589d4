"""The configuration of a match of generated images with training images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from royalty.tasks.config.base import RunName, StageConfig
from royalty.tasks.config.matching import Matching


class GMValuatorConfig(StageConfig):
    """One match: images that trained a generator, and images that it made.

    Attributes:
        size: side of the square that images are resized to when they are read.
    """

    name: RunName
    train: Path
    generated: Path
    matching: Matching = Matching()
    size: Annotated[int, Field(ge=8, le=512)] = 64
