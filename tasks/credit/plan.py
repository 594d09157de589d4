"""Plans that a worker carries out, and the results that it reports."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.models.base.choices import SchedulerName
from royalty.models.generators.training import Method, Training

WORKER = "royalty.tasks.credit.coalitions_worker"
"""Module that carries out plans, in worker processes."""


@dataclass(frozen=True)
class MeasurePlan:
    """Sample a model and measure a property of the images.

    Attributes:
        key: key of the measurement's row in the run store.
        property: name of the property, as in the configuration.
        judge: digest of the classifier behind the property.
        reference: digest of the real images that the property may compare with.
        images: number of images.
        steps: sampling steps of an image.
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
class DrawnSet:
    """One of the sets of images that `royalty.models.valuation.image_sets.sample_image_sets` draws.

    Attributes:
        number: which one, from 0.
        count, seed: of the draw.
    """

    number: int
    count: int
    seed: int


@dataclass(frozen=True)
class CoalitionPlan:
    """Train a coalition's model, and measure it.

    Attributes:
        key: key of the model's row in the run store.
        members: contributors; empty for the null coalition.
        train: digest of the training images.
        start: digest of the model that training starts from.
        measures: measurements of the model, one for each draw of images.
        public: contributors whose images every coalition has, nobody's too.
        drawn: the set of the members' images that the model is trained on; None: all of them.
        parts: plans of what the model is made of, with no measurement: for `pooled`, the models of each of the
            providers alone, in their order; for `amortized`, the one model that is told the coalition. That plan has no
            parts, and its members are everybody.
    """

    key: str
    members: tuple[str, ...]
    train: str
    start: str
    method: Method
    training: Training
    seed: int
    measures: tuple[MeasurePlan, ...]
    public: tuple[str, ...] = ()
    drawn: DrawnSet | None = None
    parts: tuple[CoalitionPlan, ...] = ()

    @property
    def providers(self) -> tuple[str, ...]:
        """All whose images the model is trained on."""
        return (*self.members, *self.public)


@dataclass(frozen=True)
class TrainedModel:
    """A coalition's model, as a worker reports it.

    Attributes:
        key: key of its plan.
        seed: seed of this training; differs from the plan's if the first training diverged.
        items: number of images that it was trained on.
        seconds: wall time of the training.
        checkpoint: digest of the model; None if training failed.
        failure: why training failed; None if it succeeded.
        losses: digest of the loss curve; None if no steps of training have a loss.
    """

    key: str
    seed: int
    items: int
    seconds: float
    device: str
    checkpoint: str | None
    failure: str | None
    losses: str | None = None


@dataclass(frozen=True)
class MeasuredUtility:
    """A measured utility, higher is better, as a worker reports it; times are in seconds."""

    key: str
    coalition: str
    utility: float
    sample_seconds: float
    measure_seconds: float
