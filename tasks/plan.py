"""The order that a worker gets for one coalition."""

from __future__ import annotations

from dataclasses import dataclass


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
