"""The configuration of a test for memorized training images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from royalty.models.base.registry import Entry, entries_of
from royalty.models.base.resolution import resolution_of
from royalty.models.encoders.registry import ENCODERS
from royalty.tasks.config.base import RunName, StageConfig
from royalty.tasks.config.choices import EncoderChoice
from royalty.tasks.config.matching import Resolution


class MemorizationTest(StageConfig):
    """Settings that the result depends on.

    Attributes:
        encoder, resolution: see `royalty.tasks.config.matching.Matching`.
        rate: largest expected fraction of images that are no copies among the flagged ones.
        neighbours: training images after the nearest whose distances the nearest is compared with.
    """

    encoder: EncoderChoice = "efficientnet-lite0"
    resolution: Resolution | None = None
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    neighbours: Annotated[int, Field(ge=1)] = 50

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is chosen from the registries; see `royalty.tasks.config.matching.Matching`."""
        return entries_of((self.encoder, ENCODERS))

    def seen_at(self, side: int) -> int:
        """Side in pixels at which the encoder sees images of `side` pixels."""
        return self.resolution or resolution_of(side)


class MemorizationConfig(MemorizationTest):
    """A test for memorized training images.

    Attributes:
        name: name of the test.
        train: images that the generator was trained on; a folder or Parquet file.
        generated: its images.
        held_out: images of the same source that it was not trained on; None: every training image is compared with the
            others.
        size: side of the squares that images are resized to; see `royalty.tasks.config.gmvaluator.GMValuatorConfig`.
    """

    name: RunName = "memorization"
    train: Path
    generated: Path
    held_out: Path | None = None
    size: Annotated[int, Field(ge=8, le=512)] | None = None

    @property
    def settings(self) -> MemorizationTest:
        """The settings that the result depends on."""
        return MemorizationTest.model_validate(self.model_dump(include=set(MemorizationTest.model_fields)))
