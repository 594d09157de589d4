"""What a worker is asked to train and measure, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.models.base.choices import SchedulerName
from royalty.models.generators.training import Method, Training

WORKER = "royalty.tasks.credit.coalitions_worker"
"""Module of what carries plans out, in processes of its own."""


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
    scheduler: SchedulerName = "unipc"


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


@dataclass(frozen=True)
class TrainedModel:
    """A coalition's model, as a worker reports it.

    Attributes:
        key: of its plan.
        seed: of the training that this is; another than was asked for, if that one diverged.
        items: images that it was trained on.
        checkpoint: digest of the model; None if training failed, and `failure` says how.
    """

    key: str
    seed: int
    items: int
    seconds: float
    device: str
    checkpoint: str | None
    failure: str | None


@dataclass(frozen=True)
class MeasuredUtility:
    """A measured utility, higher is better, as a worker reports it; times are in seconds."""

    key: str
    coalition: str
    utility: float
    sample_seconds: float
    measure_seconds: float
