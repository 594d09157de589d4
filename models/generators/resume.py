"""A long training goes on where it was killed, and ends with the very weights that it would have had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.base.serialization import pack, unpack

STEP, MOMENT = "step", "moment-"
"""What an optimizer calls the number of its steps, and the beginning of the names of what else it keeps of a weight."""


class Keeper(Protocol):
    """Where the state of one training is kept until it has ended."""

    def load(self) -> bytes | None:
        """What was saved last, if anything was."""

    def due(self) -> bool:
        """Whether it is time to save again."""

    def save(self, state: bytes) -> None:
        """Keep a state in place of the last, whole or not at all."""


def pack_training(
    optimizer: torch.optim.Optimizer,
    average: Sequence[Tensor],
    generators: Sequence[torch.Generator],
    losses: Sequence[Sequence[float]],
) -> bytes:
    """All that a training has in memory after a step, as safetensors.

    Args:
        optimizer: of Adam's family, over the weights that `average` is of.
        generators: of all that is drawn.
        losses: of each step so far, `(steps, models)`.
    """
    arrays: dict[str, np.ndarray] = {"losses": np.array(losses)}
    for index, (weight, mean) in enumerate(zip(_weights(optimizer), average, strict=True)):
        moments = {name: kept for name, kept in optimizer.state[weight].items() if name != STEP}
        own = {"weight": weight, "average": mean, **{MOMENT + name: kept for name, kept in moments.items()}}
        arrays |= {f"{name}.{index}": tensor.detach().cpu().numpy() for name, tensor in own.items()}
    arrays |= {f"generator.{index}": state.get_state().cpu().numpy() for index, state in enumerate(generators)}
    return pack(arrays, {"weights": len(average), "optimizer": type(optimizer).__name__})


@torch.no_grad()
def unpack_training(
    state: bytes, optimizer: torch.optim.Optimizer, average: Sequence[Tensor], generators: Sequence[torch.Generator]
) -> list[list[float]]:
    """Put a training back to what `pack_training` saved, in place.

    Returns:
        The losses of the steps that were done.

    Raises:
        InputError: the state is of another net.
    """
    arrays, description = unpack(state)
    weights = _weights(optimizer)
    saved = [arrays[f"weight.{index}"].shape for index in range(description["weights"])]
    if saved != [tuple(weight.shape) for weight in weights]:
        raise InputError(
            "a training goes on from a checkpoint of the same net, and this one is of another: it has "
            f"{len(saved)} weights, the net {len(weights)}, of other shapes. Delete the checkpoint, and train anew"
        )
    if description["optimizer"] != type(optimizer).__name__:
        raise InputError(
            f"a training goes on with the optimizer that it began with, {description['optimizer']}, and here it is "
            f"{type(optimizer).__name__}; go on on the kind of device where it began, or delete the checkpoint"
        )
    losses: list[list[float]] = arrays["losses"].tolist()
    for index, (weight, mean) in enumerate(zip(weights, average, strict=True)):
        weight.copy_(torch.from_numpy(arrays[f"weight.{index}"]))
        mean.copy_(torch.from_numpy(arrays[f"average.{index}"]))
        own = f".{index}"
        moments = {
            name.removeprefix(MOMENT).removesuffix(own): torch.from_numpy(array).to(weight.device).clone()
            for name, array in arrays.items()
            if name.startswith(MOMENT) and name.endswith(own)
        }
        # The optimizer of 8 bits counts by a plain number.
        steps = torch.tensor(float(len(losses)), device=weight.device) if _counts(optimizer) else len(losses)
        optimizer.state[weight] = {STEP: steps, **moments}
    for index, generator in enumerate(generators):
        generator.set_state(torch.from_numpy(arrays[f"generator.{index}"]))
    return losses


def _counts(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it counts its steps by a tensor, as torch's own do."""
    return isinstance(optimizer, torch.optim.AdamW)


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
