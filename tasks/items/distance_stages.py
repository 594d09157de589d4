"""Inputs and outputs, with digests of artifacts, of the stage that measures the distance of two sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from royalty.tasks.items.stages import Sides
from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class DistanceInputs:
    """Settings of a distance (`royalty.tasks.config.distance.DistanceSettings`), and the items of both sets.

    `sides.train` are the items whose parts are computed, and `sides.val` those they are compared with.
    """

    config: Mapping[str, Any]
    sides: Sides


@dataclass(frozen=True)
class DistanceOutputs:
    """The distance of two sets; see `royalty.models.valuation.set_distance.SetDistance`.

    Attributes:
        table: digest of the table of parts (Parquet), in the order of the items of the first set.
        contributors: number of items and part of each contributor of the first set, farthest first; None if the items
            have no contributors.
    """

    distance: float
    chance: float | None
    typical: float
    share: float
    items: int
    table: str
    contributors: list[dict[str, Any]] | None
    diagnostics: dict[str, Any]
    busy_seconds: float


MEASURE_DISTANCE = Stage("measure-distance", DistanceInputs, DistanceOutputs)

DistanceMeasured = Finished[DistanceInputs, DistanceOutputs]
