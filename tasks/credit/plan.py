"""The orders that a worker gets."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.infra.stores.lineage import Edge
from royalty.models.base.choices import SchedulerName
from royalty.models.generators.training import Method, Training


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

    def edges(self, coalition: str) -> list[Edge]:
        """What the measurement came from."""
        parents = {"model": coalition, "judge": self.judge, "reference": self.reference}
        return [Edge(self.key, parent, role, self.key) for role, parent in parents.items()]


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

    def edges(self, checkpoint: str | None) -> list[Edge]:
        """What the model came from, and its checkpoint from it."""
        edges = [Edge(self.key, self.start, "start", self.key), Edge(self.key, self.train, "train", self.key)]
        return [*edges, Edge(checkpoint, self.key, "checkpoint", self.key)] if checkpoint else edges
