"""One coalition, finetuned and measured. Runs in a process of its own: imports no orchestration."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from infra.runstore import CoalitionRecord
from infra.settings import Settings
from infra.workspace import Workspace, open_workspace
from models.data.items import ImageSet

if TYPE_CHECKING:
    from models.properties.classifier import Classifier


@dataclass(frozen=True)
class CoalitionPlan:
    """What a process needs to measure one coalition; digests name what it loads.

    Attributes:
        key: of the coalition's row in the run store.
        members: contributors; none is the null coalition.
    """

    key: str
    members: tuple[str, ...]
    train: str
    pruned: str
    classifier: str
    finetune_steps: int
    batch_size: int
    learning_rate: float
    ema_decay: float
    images: int
    sampling_steps: int
    seed: int
    threads: int


def measure(plan: CoalitionPlan, settings: Settings) -> str:
    """Finetune the pruned model on a coalition's images, measure it, and record the row; returns its key.

    The null coalition has no image to learn from. Its model is the pruned architecture with random
    weights: every learned weight comes from somebody's images, so nobody's model has none.
    """
    import torch

    from models.generators.ddpm import DDPM

    torch.set_num_threads(plan.threads)
    space = open_workspace(settings)
    start = time.perf_counter()
    data = load_images(space, plan.train)
    mask = np.array([name in plan.members for name in data.contributors])
    items = data.of_coalition(mask)
    device = best_device()
    model = DDPM.from_bytes(space.artifacts.get(plan.pruned)).to(device)
    began = time.perf_counter()
    if plan.members:
        model.fit(
            data.images[items],
            steps=plan.finetune_steps,
            batch_size=plan.batch_size,
            learning_rate=plan.learning_rate,
            ema_decay=plan.ema_decay,
            seed=plan.seed,
        )
    else:
        model = model.untrained(seed=plan.seed)
    trained = time.perf_counter()
    images = model.sample(plan.images, seed=plan.seed, steps=plan.sampling_steps)
    sampled = time.perf_counter()
    utility = utility_of(images, load_classifier(space, plan.classifier))
    measured = time.perf_counter()
    space.runs.record_coalition(
        CoalitionRecord(
            key=plan.key,
            members=list(plan.members),
            seed=plan.seed,
            items=len(items),
            utility=utility,
            train_seconds=trained - began,
            sample_seconds=sampled - trained,
            measure_seconds=measured - sampled,
            wall_seconds=measured - start,
            device=device,
            checkpoint=space.artifacts.put(model.to_bytes()),
        )
    )
    return plan.key


def best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_images(space: Workspace, digest: str) -> ImageSet:
    return ImageSet.from_bytes(space.artifacts.get(digest))


def load_classifier(space: Workspace, digest: str) -> Classifier:
    from models.properties.classifier import Classifier

    return Classifier.from_bytes(space.artifacts.get(digest))


def utility_of(images: np.ndarray, classifier: Classifier) -> float:
    """The global model property that is credited: the Inception Score of generated images."""
    from models.properties.inception_score import inception_score

    return inception_score(classifier.probabilities(images))
