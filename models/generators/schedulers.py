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
    # Without the initial Runge-Kutta steps, a step is one pass through the net, as for the other samplers.
    "pndm": (PNDMScheduler, {"skip_prk_steps": True}),
    "unipc": (UniPCMultistepScheduler, {}),
}


def solver(name: str, config: Mapping[str, Any], steps: int, device: torch.device | str = "cpu") -> Any:
    """A sampler in its initial state. It stores its previous steps, so every batch needs a new one.

    Args:
        config: of the scheduler that the model was trained with: its betas, and its prediction target.
        steps: passes through the net; `pndm` takes one more.

    Raises:
        InputError: an unknown name; the message lists the nearest ones.
    """
    kind, options = by_name(name, SCHEDULERS, "scheduler")
    sampler = kind.from_config(dict(config), **options)
    sampler.set_timesteps(steps, device=device)
    return sampler
