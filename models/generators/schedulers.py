"""The samplers of diffusion models, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from royalty.models.base.choices import SchedulerName
from royalty.models.base.errors import by_name
from royalty.models.generators.libraries import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)


class _Unchecked(TorchFunctionMode):
    """Solve linear systems without the check for singular matrices, for whose answer the CPU would wait."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.linalg.solve:
            return torch.linalg.solve_ex(*args, **(kwargs or {})).result
        return func(*args, **(kwargs or {}))


class UniPCScheduler(UniPCMultistepScheduler):  # type: ignore[misc]
    """UniPC with its noise levels beside the images; diffusers copies two or more of them to the GPU in each step."""

    sigmas: Tensor

    def step(self, model_output: Tensor, timestep: Tensor, sample: Tensor) -> Any:
        self.sigmas = self.sigmas.to(sample.device)
        with _Unchecked():
            return super().step(model_output, timestep, sample)


SCHEDULERS: Mapping[SchedulerName, tuple[type[Any], dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {}),
    "dpm-solver++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),
    # Without the initial Runge-Kutta steps, a step is one pass through the net, as for the other samplers.
    "pndm": (PNDMScheduler, {"skip_prk_steps": True}),
    "unipc": (UniPCScheduler, {}),
}


def solver(name: str, config: Mapping[str, Any], steps: int) -> Any:
    """A sampler in its initial state. It stores its previous steps, so every batch needs a new one.

    Its timesteps are on the CPU, where it computes its coefficients: on a GPU, each comparison of a timestep would wait
    for all work that is queued there. `times_of` gives the timesteps for the net.

    Args:
        config: of the scheduler that the model was trained with: its betas, and its prediction target.
        steps: passes through the net; `pndm` takes one more.

    Raises:
        InputError: an unknown name; the message lists the nearest ones.
    """
    kind, options = by_name(name, SCHEDULERS, "scheduler")
    sampler = kind.from_config(dict(config), **options)
    sampler.set_timesteps(steps)
    return sampler


def times_of(sampler: Any, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """For each step its timestep twice: for the sampler, on the CPU, and for the net, on its device."""
    return zip(sampler.timesteps, sampler.timesteps.to(device), strict=True)
