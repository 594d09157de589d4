"""Inputs and outputs of the stage that tests for memorized training images. Digests identify artifacts."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.tasks.config.memorization import MemorizationTest
from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class MemorizationInputs:
    """Digests of the items, and the key of their embeddings.

    Attributes:
        held_out: "" compares every training image with the others.
    """

    train: str
    generated: str
    held_out: str
    encoder: str
    test: MemorizationTest


@dataclass(frozen=True)
class MemorizationOutputs:
    """The result of the test.

    Attributes:
        table: digest of the table (Parquet), one row for each generated image in their order.
        flagged: number of images that are copies at the false discovery rate.
        compared: number of images, held out or trained on, whose closeness p-values are by.
        smallest: the smallest p-value that this number allows.
        copies: training images that are near copies of others, and left out.
    """

    table: str
    generated: int
    flagged: int
    compared: int
    smallest: float
    copies: int
    busy_seconds: float


MEMORIZATION = Stage("memorization", MemorizationInputs, MemorizationOutputs)
MemorizationTested = Finished[MemorizationInputs, MemorizationOutputs]
