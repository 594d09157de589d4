"""The stage that measures how far images have moved: what it takes, and what it gives."""

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
    """Distance of the two sets by optimal transport of features, and its share of what two images are apart."""

    share: float
    distance: float
    busy_seconds: float


DRIFT = Stage("drift", DriftInputs, DriftOutputs)

Drift = Finished[DriftInputs, DriftOutputs]
