"""Save and restore the state of a training, so that an interrupted one resumes and ends with identical weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.base.serialization import pack, unpack

STEP, MOMENT = "step", "moment-"
"""Name of the step count in an optimizer's state, and the prefix under which its other entries are saved."""


class Keeper(Protocol):
    """Stores the state of one training until it ends."""

    def load(self) -> bytes | None:
        """The state that was saved last, or None."""

    def due(self) -> bool:
        """Whether it is time to save again."""

    def save(self, state: bytes) -> None:
        """Replace the saved state atomically."""


def pack_training(
    optimizer: torch.optim.Optimizer,
    average: Sequence[Tensor],
    generators: Sequence[torch.Generator],
    losses: Sequence[Sequence[float]],
) -> bytes:
    """Serialize the state of a training after a step, as safetensors.

    Args:
        optimizer: of Adam's family, over the weights that `average` belongs to.
        average: the moving average of each weight.
        generators: the random generators of the training.
        losses: of each step so far, `(steps, models)`.
    """
    arrays: dict[str, np.ndarray] = {"losses": np.array(losses)}
    for index, (weight, mean) in enumerate(zip(_weights(optimizer), average, strict=True)):
        moments = {name: moment for name, moment in optimizer.state[weight].items() if name != STEP}
        state = {"weight": weight, "average": mean, **{MOMENT + name: moment for name, moment in moments.items()}}
        arrays |= {f"{name}.{index}": tensor.detach().cpu().numpy() for name, tensor in state.items()}
    arrays |= {f"generator.{index}": random.get_state().cpu().numpy() for index, random in enumerate(generators)}
    drawn = generators[0].device.type
    return pack(arrays, {"weights": len(average), "optimizer": type(optimizer).__name__, "drawn": drawn})


@torch.no_grad()
def unpack_training(
    state: bytes, optimizer: torch.optim.Optimizer, average: Sequence[Tensor], generators: Sequence[torch.Generator]
) -> list[list[float]]:
    """Restore the state that `pack_training` saved, in place.

    Returns:
        The losses of the completed steps.

    Raises:
        InputError: the state belongs to another net, another optimizer, or another type of device.
    """
    arrays, description = unpack(state)
    weights = _weights(optimizer)
    saved = [arrays[f"weight.{index}"].shape for index in range(description["weights"])]
    if saved != [tuple(weight.shape) for weight in weights]:
        raise InputError(
            f"training resumes from a checkpoint of the same net; the checkpoint has {len(saved)} weights, the net "
            f"{len(weights)}, and their shapes differ. Delete the checkpoint to train from the start"
        )
    if description["optimizer"] != type(optimizer).__name__:
        raise InputError(
            f"training resumes with the optimizer it began with, {description['optimizer']}; here it is "
            f"{type(optimizer).__name__}. Resume on the kind of device where it began, or delete the checkpoint"
        )
    drawn, here = description.get("drawn", "cpu"), generators[0].device.type
    if drawn != here:
        raise InputError(
            f"training resumes where its noise was drawn, on a device of type {drawn}; here it is drawn on {here}. "
            "Resume there, or delete the checkpoint to train from the start"
        )
    losses: list[list[float]] = arrays["losses"].tolist()
    for index, (weight, mean) in enumerate(zip(weights, average, strict=True)):
        weight.copy_(torch.from_numpy(arrays[f"weight.{index}"]))
        mean.copy_(torch.from_numpy(arrays[f"average.{index}"]))
        suffix = f".{index}"
        moments = {
            name.removeprefix(MOMENT).removesuffix(suffix): _laid_out(torch.from_numpy(array), weight)
            for name, array in arrays.items()
            if name.startswith(MOMENT) and name.endswith(suffix)
        }
        # The 8-bit optimizer stores its step count as an int.
        steps = torch.tensor(float(len(losses)), device=weight.device) if _counts_by_tensor(optimizer) else len(losses)
        optimizer.state[weight] = {STEP: steps, **moments}
    for index, generator in enumerate(generators):
        generator.set_state(torch.from_numpy(arrays[f"generator.{index}"]))
    return losses


def _laid_out(moment: Tensor, weight: Tensor) -> Tensor:
    """A copy of a moment beside its weight, with its strides; fused optimizers read both in the order of memory."""
    if moment.shape != weight.shape:
        return moment.to(weight.device).clone()
    return torch.empty_like(weight, dtype=moment.dtype).copy_(moment)


def _counts_by_tensor(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the optimizer stores its step count as a tensor, as those of torch do."""
    return isinstance(optimizer, torch.optim.AdamW)


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
