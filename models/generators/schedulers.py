"""The samplers of diffusion models, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from royalty.models.base.choices import SchedulerName
from royalty.models.base.errors import by_name
from royalty.models.generators.libraries import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

SCHEDULERS: Mapping[SchedulerName, tuple[type[Any], dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {}),
    "dpm-solver++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    # Without its Runge-Kutta steps at the start a step is one pass through the net, as of the others.
    "pndm": (PNDMScheduler, {"skip_prk_steps": True}),
    "unipc": (UniPCMultistepScheduler, {}),
}


def solver(name: str, config: Mapping[str, Any], steps: int, device: torch.device | str = "cpu") -> Any:
    """The sampler at its start. It remembers its last steps: every batch has one of its own.

    Args:
        config: of the scheduler that a model was trained with: its betas, and what it predicts.
        steps: passes through the net; `pndm` takes one more.

    Raises:
        InputError: no scheduler has this name; the nearest are offered.
    """
    kind, options = by_name(name, SCHEDULERS, "scheduler")
    made = kind.from_config(dict(config), **options)
    made.set_timesteps(steps, device=device)
    return made
