"""A long training goes on where it was killed, and ends with the very weights that it would have had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from models.errors import InputError
from models.serialization import pack, unpack

MOMENTS = ("exp_avg", "exp_avg_sq")


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
        own = {"weight": weight, "average": mean, **{name: optimizer.state[weight][name] for name in MOMENTS}}
        arrays |= {f"{name}.{index}": tensor.detach().cpu().numpy() for name, tensor in own.items()}
    arrays |= {f"generator.{index}": state.get_state().cpu().numpy() for index, state in enumerate(generators)}
    return pack(arrays, {"weights": len(average)})


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
    losses: list[list[float]] = arrays["losses"].tolist()
    for index, (weight, mean) in enumerate(zip(weights, average, strict=True)):
        own = {name: torch.from_numpy(arrays[f"{name}.{index}"]) for name in ("weight", "average", *MOMENTS)}
        weight.copy_(own["weight"])
        mean.copy_(own["average"])
        optimizer.state[weight] = {
            "step": torch.tensor(float(len(losses)), device=weight.device),
            **{name: own[name].to(weight.device).clone() for name in MOMENTS},
        }
    for index, generator in enumerate(generators):
        generator.set_state(torch.from_numpy(arrays[f"generator.{index}"]))
    return losses


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
