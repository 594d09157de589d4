"""Mixed precision and compilation, which change results by rounding only."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

COMPILED = ("cuda",)
"""Device types on which nets are compiled."""

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


def compiled(net: nn.Module, device: torch.device, wanted: bool) -> Any:
    """The net compiled by `torch.compile`, sharing its weights; the first calls take minutes."""
    return torch.compile(net) if wanted and device.type in COMPILED else net
