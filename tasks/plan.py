"""The orders that a worker gets."""

from __future__ import annotations

from dataclasses import dataclass

from models.training import Method, Training


@dataclass(frozen=True)
class MeasurePlan:
    """Sample a model and measure a property of the images.

    Attributes:
        key: of the measurement's row in the run store.
        property: as in the configuration.
        judge: digest of the classifier behind the property.
        reference: digest of the real images that it may compare with.
        draw: seed of the images' initial noise.
    """

    key: str
    property: str
    judge: str
    reference: str
    images: int
    steps: int
    draw: int


@dataclass(frozen=True)
class CoalitionPlan:
    """Train a coalition's model, and measure it; digests name what is loaded.

    Attributes:
        key: of the model's row in the run store.
        members: contributors; none is the null coalition.
        start: digest of the model that training starts from.
        measures: on its images, one a draw.
    """

    key: str
    members: tuple[str, ...]
    train: str
    start: str
    method: Method
    training: Training
    seed: int
    measures: tuple[MeasurePlan, ...]
