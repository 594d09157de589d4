"""Mixed precision and compilation, which change results by rounding only."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any

import torch
from torch import nn

COMPILED = ("cuda",)
"""Device types on which nets are compiled."""

CHANNELS_LAST = ("cuda",)
"""Device types whose convolutions are given weights, and so images, in channels-last memory format."""

FUSED = ("cuda",)
"""Device types on which optimizers that need not be fused make one call for all weights; it changes rounding."""

BFLOAT16 = ("avx512_bf16", "amx_bf16")
"""Instructions of a CPU with which bfloat16 is faster than float32."""


def in_bfloat16(device: torch.device, wanted: bool, *, cpus: bool = True) -> AbstractContextManager[Any]:
    """Compute convolutions and matrix products in bfloat16; weights, sums and losses stay in float32.

    Args:
        cpus: whether CPUs that have the instructions of `BFLOAT16` do so too; others compute in float32.
    """
    quick = device.type == "cuda" or (cpus and device.type == "cpu" and _has_instructions())
    return torch.autocast(device.type, torch.bfloat16) if wanted and quick else nullcontext()


def _has_instructions() -> bool:
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in BFLOAT16)


def laid_out(net: nn.Module, device: torch.device) -> None:
    """Store the weights of convolutions with channels last on a device of `CHANNELS_LAST`, in place."""
    if device.type in CHANNELS_LAST:
        with torch.inference_mode(False):  # weights laid out while sampling could not be trained afterwards
            net.to(memory_format=torch.channels_last)


def fused(device: torch.device) -> bool | None:
    """What an optimizer of torch takes as `fused` on a device of `FUSED`, and by default elsewhere."""
    return device.type in FUSED or None


def compiled(net: nn.Module, device: torch.device, wanted: bool) -> Any:
    """The net compiled by `torch.compile`, sharing its weights; the first calls take minutes.

    Nets whose weights have the same shapes share the compiled code.
    """
    if not wanted or device.type not in COMPILED:
        return net
    shapes = tuple((name, tuple(weight.shape)) for name, weight in net.named_parameters())
    return partial(_compiled((type(net).__name__, str(device), shapes)), net)


@cache
def _compiled(alike: Hashable) -> Any:
    """A function of a net and its inputs that is compiled once for all nets that share a class, device and shapes."""

    def forward(net: nn.Module, *inputs: Any, **named: Any) -> Any:
        return net(*inputs, **named)

    return torch.compile(forward)
