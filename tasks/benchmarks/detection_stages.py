"""The stages that plant corruptions and look for them by value: what each takes, and what it gives.

A field that is a digest names an artifact.
"""

from __future__ import annotations

from dataclasses import dataclass

from royalty.models.base.choices import CorruptionName
from royalty.tasks.config.detection import DetectionSettings
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.stages.stage import Finished, Stage, TableRow


@dataclass(frozen=True)
class DigitsInputs:
    """Nothing: scikit-learn's digits come with a package."""


@dataclass(frozen=True)
class DigitsOutputs:
    """Training and validation items."""

    train: ItemsOutputs
    val: ItemsOutputs


@dataclass(frozen=True)
class CleanSides:
    """Digests of the clean items of both sides."""

    train: str
    val: str


@dataclass(frozen=True)
class DetectInputs:
    """A corruption that is planted in clean training items, and the methods that look for it."""

    corruption: CorruptionName
    config: DetectionSettings
    sides: CleanSides


@dataclass(frozen=True)
class DetectOutputs:
    """What the methods found of one corruption.

    Attributes:
        rows: a method each: `auroc`, and `first_fifth`, the share of the planted items among the fifth of lowest value.
        curves: by method, the share of the planted items found over the items looked at, the lowest value first.
        accuracy: of a classifier trained without the items of lowest value, by method and share removed.
    """

    rows: list[TableRow]
    curves: dict[str, list[float]]
    accuracy: list[TableRow]
    busy_seconds: float


DIGITS = Stage("read-digits", DigitsInputs, DigitsOutputs)
DETECT = Stage("detect", DetectInputs, DetectOutputs)

Detected = Finished[DetectInputs, DetectOutputs]
