"""How large a generator is before there is one: its net on torch's meta device, which holds shapes and no numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from royalty.models.base.errors import InputError
from royalty.models.generators.pruning import example_of, size_of


@dataclass(frozen=True)
class Outline:
    """What a net will be.

    Attributes:
        parameters: that are trained; `frozen` those that are not.
        multiply_adds: of one denoising step of one image, attention between pixels left out.
        activations: bytes that are kept of one image until its gradient is there, in float32.
        operations: of a training step a multiply-add: see `royalty.models.generators.budget.budget`.
    """

    parameters: int
    multiply_adds: int
    activations: int
    frozen: int = 0
    operations: int = 6


def outline_of(net: nn.Module, example: Sequence[Tensor] | None = None) -> Outline:
    """The outline of a net all of whose weights are trained.

    Args:
        net: on the meta device.
        example: of what it takes; of a denoising U-Net unless given.
    """
    example = example or example_of(net)
    size = size_of(net, example)
    return Outline(size.parameters, size.multiply_adds, activations(net, example))


def outline_of_adapter(net: Any, rank: int, targets: Sequence[str]) -> Outline:
    """The outline of low-rank updates of a net that stays as it is; 4 operations a multiply-add of it.

    Args:
        net: of diffusers, on the meta device; the updates are put into it.
        targets: ends of the names of the layers that have one.
    """
    from peft import LoraConfig  # which takes seconds, and other kinds do not need

    check_targets(targets, net)
    net.requires_grad_(False)
    with torch.device("meta"):
        net.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets)))
    size = size_of(net)
    trained = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    kept = activations(net, example_of(net))
    return Outline(trained, size.multiply_adds, kept, frozen=size.parameters - trained, operations=4)


def check_targets(targets: Sequence[str], net: nn.Module) -> None:
    """Refuse LoRA targets that no layer's name ends with.

    Args:
        net: a U-Net, with adapters in it or without.

    Raises:
        InputError: with what the names end with.
    """
    adaptable = [name for name, layer in net.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    layers = [name.removesuffix(".base_layer") for name in adaptable if ".lora_" not in name]
    for target in targets:
        if not any(f".{layer}".endswith(f".{target}") for layer in layers):
            last = sorted({layer.rpartition(".")[2] for layer in layers if not layer[-1].isdigit()})
            raise InputError(
                f"the LoRA target {target!r} matches no layer of this U-Net, whose layers end with {', '.join(last)}; "
                "the projections of attention are to_q, to_k, to_v and to_out.0"
            )


def activations(net: nn.Module, example: Sequence[Tensor]) -> int:
    """Bytes that autograd keeps of an example beside the net's own weights."""
    own = {parameter.untyped_storage()._cdata for parameter in net.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage()._cdata
        if place not in own:
            kept[place] = tensor  # holds it, so that no other gets its place
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(*example)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
