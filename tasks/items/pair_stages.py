"""Inputs and outputs of the stage that compares values of pairs of items. Digests identify artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from royalty.tasks.items.stages import Sides
from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class PairsInputs:
    """Pairs of training items whose values are compared under transport without entropy.

    Attributes:
        config: settings of the valuation.
        pairs: two IDs or file names each.
    """

    config: Mapping[str, Any]
    sides: Sides
    pairs: list[list[str]]


@dataclass(frozen=True)
class PairsOutputs:
    """Digest of the table of differences, and the number of pairs that have one."""

    table: str
    compared: int
    busy_seconds: float


COMPARE_PAIRS = Stage("compare-pairs", PairsInputs, PairsOutputs)

PairsCompared = Finished[PairsInputs, PairsOutputs]
