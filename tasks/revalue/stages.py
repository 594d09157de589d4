"""Inputs and outputs of the stage that measures how far images have moved."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.tasks.stages.stage import Finished, Stage


@dataclass(frozen=True)
class DriftInputs:
    """Digests of two image sets."""

    before: str
    after: str


@dataclass(frozen=True)
class DriftOutputs:
    """Distance between the two sets.

    Attributes:
        share: the distance as a fraction of the mean distance between an image of each set.
        distance: the distance by optimal transport of features.
    """

    share: float
    distance: float
    busy_seconds: float


DRIFT = Stage("drift", DriftInputs, DriftOutputs)

Drift = Finished[DriftInputs, DriftOutputs]
