"""Structured magnitude pruning of denoising U-Nets (torch-pruning's dependency graph)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch_pruning
from diffusers.models.downsampling import Downsample2D
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """Parameters, and multiply-adds of one denoising step of one image."""

    parameters: int
    multiply_adds: int


def size_of(unet: UNet2DModel) -> Size:
    multiply_adds, parameters = torch_pruning.utils.count_ops_and_params(unet, _example(unet))
    return Size(parameters=int(parameters), multiply_adds=int(multiply_adds))


def prune_by_magnitude(unet: UNet2DModel, ratio: float) -> None:
    """Remove the channels of least L2 norm from every layer, in place.

    Args:
        ratio: share of the channels of each layer to remove, in (0, 1); rounded to whole groups of the
            group norms. The input and output channels of the net stay.

    Raises:
        ValueError: a ratio outside (0, 1).
    """
    if not 0 < ratio < 1:
        raise ValueError(f"a pruning ratio lies between 0 and 1, got {ratio}; 0.3 removes 30% of the channels")
    pruner = torch_pruning.pruner.MagnitudePruner(
        unet,
        _example(unet),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=[unet.conv_out],
        round_to=unet.config.norm_num_groups,
        # The library keeps state in the mutable defaults of these two.
        customized_pruners={},
        unwrapped_parameters={},
    )
    pruner.step()
    _refresh_channels(unet)


def fit_to_weights(unet: UNet2DModel, state: Mapping[str, Tensor]) -> None:
    """Give every layer the widths of saved weights, in place, so that a pruned net can be loaded."""
    for name, module in unet.named_modules():
        if f"{name}.weight" not in state:
            continue
        shape = state[f"{name}.weight"].shape
        if isinstance(module, nn.Conv2d):
            module.out_channels, module.in_channels = shape[0], shape[1] * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = shape
        elif isinstance(module, nn.GroupNorm):
            module.num_channels = shape[0]
        for parameter in ("weight", "bias"):
            if f"{name}.{parameter}" in state:
                setattr(module, parameter, nn.Parameter(torch.empty_like(state[f"{name}.{parameter}"])))
    _refresh_channels(unet)


def _refresh_channels(unet: UNet2DModel) -> None:
    """The resampling layers keep their width beside their convolution and check inputs against it."""
    for module in unet.modules():
        if isinstance(module, Upsample2D | Downsample2D) and isinstance(module.conv, nn.Conv2d):
            module.channels = module.conv.in_channels
            module.out_channels = module.conv.out_channels


def _example(unet: UNet2DModel) -> tuple[Tensor, Tensor]:
    """A sample and a timestep, as the net takes them."""
    shape = (1, unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
    return torch.zeros(shape, device=unet.device), torch.zeros(1, device=unet.device)
