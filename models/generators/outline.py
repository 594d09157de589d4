"""Measure the size of a generator before it is built, from its net on torch's meta device."""

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
    """The size of a net.

    Attributes:
        parameters: number of trained parameters.
        multiply_adds: of one denoising step of one image, without the attention between pixels.
        activations: bytes stored for the backward pass of one image, in float32.
        frozen: number of parameters that are not trained.
        operations: of a training step, per multiply-add: see `royalty.models.generators.budget.budget`.
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
        example: inputs of the net; those of a denoising U-Net by default.
    """
    example = example or example_of(net)
    size = size_of(net, example)
    return Outline(size.parameters, size.multiply_adds, activations(net, example))


def outline_of_adapter(net: Any, rank: int, targets: Sequence[str]) -> Outline:
    """The outline of low-rank updates of a frozen net: 4 operations per multiply-add of the net.

    Args:
        net: of diffusers, on the meta device; the updates are added to it.
        targets: suffixes of the names of the layers that get an update.
    """
    from peft import LoraConfig  # takes seconds to import, and other kinds do not need it

    check_targets(targets, net)
    net.requires_grad_(False)
    with torch.device("meta"):
        net.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets)))
    size = size_of(net)
    trained = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    stored = activations(net, example_of(net))
    return Outline(trained, size.multiply_adds, stored, frozen=size.parameters - trained, operations=4)


def check_targets(targets: Sequence[str], net: nn.Module) -> None:
    """Check that every LoRA target is a suffix of a layer's name.

    Args:
        net: a U-Net, with or without adapters.

    Raises:
        InputError: a target matches no layer.
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
    """Bytes that autograd stores in a forward pass of an example, without the net's weights."""
    weights = {parameter.untyped_storage()._cdata for parameter in net.parameters()}
    stored: dict[int, Tensor] = {}

    def record(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage()._cdata
        if address not in weights:
            stored[address] = tensor  # the reference prevents another tensor from getting this address
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        net(*example)
    return sum(tensor.untyped_storage().nbytes() for tensor in stored.values())
