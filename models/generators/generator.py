"""What generators of images share: how they are asked for images, and how they are shown theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

Progress = Callable[[int], None]
"""Called with the number of steps done since the last call."""


class Sampler(Protocol):
    """All that the valuation of a generator asks of it."""

    def sample(self, n: int, *, seed: int) -> np.ndarray:
        """Generate images, the same from the same seed: uint8, `(n, channels, height, width)`."""


def scaled(images: np.ndarray, device: torch.device) -> Tensor:
    """Images of uint8 as floats in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(device).float().div_(127.5).sub_(1)


def quantized(images: Tensor) -> np.ndarray:
    """Floats, of which those beyond [-1, 1] are cut off, as images of uint8."""
    whole: np.ndarray = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
    return whole


def batches(items: int, batch_size: int, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Batches of positions, epoch after epoch; a set smaller than a batch is repeated within it."""
    needed = steps * batch_size
    epochs = -(-needed // items)
    order = torch.cat([torch.randperm(items, generator=generator, device=generator.device) for _ in range(epochs)])
    return list(order[:needed].view(steps, batch_size))
