"""What makes a GPU faster and changes what is computed by rounding alone; a CPU is left as it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

ACCELERATED = ("cuda",)
"""Devices on which bfloat16 and compiled nets are worth what they cost."""


def in_bfloat16(device: torch.device, wanted: bool) -> AbstractContextManager[Any]:
    """Convolutions and products of matrices in bfloat16; weights, sums and losses stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and device.type in ACCELERATED)


def compiled(net: nn.Module, device: torch.device, wanted: bool) -> Any:
    """The net as `torch.compile` makes it, with the same weights; its first calls take minutes."""
    return torch.compile(net) if wanted and device.type in ACCELERATED else net
