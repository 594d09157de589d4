"""The settings by which the models of coalitions are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["sparsified", "finetune", "retrain", "pooled", "amortized", "gradient-ascent", "influence", "mirrored"]
"""See `royalty.models.generators.retraining.coalition_models`."""

UNLEARNING: tuple[Method, ...] = ("gradient-ascent", "influence", "mirrored")
"""The methods that start from a model of everybody, and remove the images of contributors outside the coalition."""


@dataclass(frozen=True)
class Training:
    """Settings of a training: see `DDPM.fit`. `timesteps` and `damping` are those of `influence_unlearning`."""

    steps: int
    batch_size: int
    learning_rate: float
    ema_decay: float
    timesteps: int
    damping: float
