"""Inputs and outputs of the stages that plant corruptions and look for them by value.

Digests identify artifacts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from royalty.models.base.choices import CorruptionName
from royalty.tasks.config.detection import Ablation, DetectionSettings, ValidationSweep
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.stages.stage import Finished, Stage, TableRow


@dataclass(frozen=True)
class DigitsInputs:
    """Empty: scikit-learn's digits come with its package."""


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
class CheckInputs:
    """Corruptions that are to be planted in clean training items."""

    corruptions: tuple[CorruptionName, ...]
    config: DetectionSettings
    sides: CleanSides


@dataclass(frozen=True)
class DetectInputs:
    """A corruption that is planted in clean training items, and the methods that look for it.

    Attributes:
        draw: number of the random draw, from 0; it is added to the seed.
    """

    corruption: CorruptionName
    config: DetectionSettings
    sides: CleanSides
    draw: int = 0

    @property
    def seed(self) -> int:
        """Seed of this draw."""
        return self.config.seed + self.draw


@dataclass(frozen=True)
class DetectOutputs:
    """Results of the methods for one corruption.

    Attributes:
        rows: one row for each method, with `auroc`; `first_fifth`, the fraction of the planted items among the fifth of
            lowest value; and `first_500`, the number of them among the 500 of lowest value, None if there are no more
            items.
        curves: by method, the fraction of the planted items found over the items inspected, lowest value first.
        accuracy: accuracy and attack success of classifiers trained without the items of lowest value, by method and
            fraction removed.
        failed: by method that refused the set, its message.
        flagged: one row for each false discovery rate `fdr`, with what the detector flags at it: the number, the
            fraction `fdp` of these that is not planted, and `power`, the fraction of the planted items among them.
    """

    rows: list[TableRow]
    curves: dict[str, list[float]]
    accuracy: list[TableRow]
    busy_seconds: float
    # Rows of earlier versions lack it.
    failed: dict[str, str] = field(default_factory=dict)
    flagged: list[TableRow] = field(default_factory=list)


@dataclass(frozen=True)
class SweepInputs:
    """Smaller and faulty validation sets, by which methods look for a planted corruption again."""

    detect: DetectInputs
    validation: ValidationSweep


@dataclass(frozen=True)
class SweepOutputs:
    """AUROC of the methods by validation set.

    Attributes:
        rows: one row for each validation set and method.
        failed: by validation set and method that refused it, its message.
    """

    rows: list[TableRow]
    failed: dict[str, str]
    busy_seconds: float


@dataclass(frozen=True)
class CurveInputs:
    """A corruption that is planted in several fractions of the items; see `DistanceCurve.amounts`."""

    detect: DetectInputs
    amounts: tuple[float, ...]


@dataclass(frozen=True)
class CurveOutputs:
    """Distance from validation and accuracy by amount: one row for each amount and classifier."""

    rows: list[TableRow]
    busy_seconds: float


@dataclass(frozen=True)
class AblateInputs:
    """Settings that are varied one at a time, while methods look for a planted corruption."""

    detect: DetectInputs
    ablation: Ablation


@dataclass(frozen=True)
class AblateOutputs:
    """AUROC of the methods by setting.

    Attributes:
        rows: one row for each setting, value and method that depends on the setting, with the `seconds` of the method.
        failed: by setting and method that refused it, its message.
    """

    rows: list[TableRow]
    failed: dict[str, str]
    busy_seconds: float


DIGITS = Stage("read-digits", DigitsInputs, DigitsOutputs)
DETECT = Stage("detect", DetectInputs, DetectOutputs)
SWEEP = Stage("detect-by-validation", SweepInputs, SweepOutputs)
ABLATE = Stage("detect-by-setting", AblateInputs, AblateOutputs)
CURVE = Stage("distance-by-amount", CurveInputs, CurveOutputs)

Detected = Finished[DetectInputs, DetectOutputs]
Swept = Finished[SweepInputs, SweepOutputs]
Ablated = Finished[AblateInputs, AblateOutputs]
CurveMeasured = Finished[CurveInputs, CurveOutputs]
