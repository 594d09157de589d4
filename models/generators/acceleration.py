"""Mixed precision and compilation on GPUs, which change results by rounding only; CPUs are unaffected."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

ACCELERATED = ("cuda",)
"""Device types on which bfloat16 and compilation are used."""


def in_bfloat16(device: torch.device, wanted: bool) -> AbstractContextManager[Any]:
    """Compute convolutions and matrix products in bfloat16; weights, sums and losses stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and device.type in ACCELERATED)


def compiled(net: nn.Module, device: torch.device, wanted: bool) -> Any:
    """The net compiled by `torch.compile`, sharing its weights; the first calls take minutes."""
    return torch.compile(net) if wanted and device.type in ACCELERATED else net
