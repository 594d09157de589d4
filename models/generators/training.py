"""What there is to say of how a coalition's model is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["sparsified", "finetune", "retrain", "gradient-ascent", "influence"]
"""See `royalty.models.generators.retraining.coalition_models`."""


@dataclass(frozen=True)
class Training:
    """Settings of a training: see `DDPM.fit`; the last two are those of `influence_unlearning`."""

    steps: int
    batch_size: int
    learning_rate: float
    ema_decay: float
    timesteps: int
    damping: float
