"""Generators that decode a random code: what the beta-VAE and the DCGAN have in common."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from models.errors import InputError
from models.generators.generator import quantized, scaled
from models.serialization import pack, unpack

FRAME = 32
"""Side of the images inside the nets. Smaller ones, such as digits of 28, get a black border, cut off again."""

SAMPLING_BATCH = 256

Shape = tuple[int, int, int]


class LatentGenerator(nn.Module):
    """A decoder of standard normal codes into uint8 images, `(n, channels, height, width)`.

    Args:
        shape: `(channels, height, width)`, sides of at most 32.
        codes: dimensions of a code.
        decoder: from codes to pictures in [-1, 1], `(n, channels, 32, 32)`.
    """

    def __init__(self, shape: Shape, codes: int, decoder: nn.Module) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape) < 1 or max(shape[1:]) > FRAME:
            raise InputError(
                f"images are (channels, height, width) with sides of at most {FRAME}; got {tuple(shape)}. Resize them"
            )
        self.shape, self.codes, self.decoder = tuple(shape), codes, decoder

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def framed(self, images: np.ndarray) -> Tensor:
        """Images in [-1, 1] with their border, `(n, channels, 32, 32)`.

        Raises:
            InputError: no images, or not uint8 of this generator's shape.
        """
        if images.dtype != np.uint8 or images.shape[1:] != self.shape or not len(images):
            raise InputError(
                f"this generator is of uint8 images, (n, {', '.join(map(str, self.shape))}), at least one; got "
                f"{images.dtype} of shape {images.shape}. Convert them, or build one for their shape"
            )
        top, left = self._corner()
        bottom, right = FRAME - self.shape[1] - top, FRAME - self.shape[2] - left
        return nn.functional.pad(scaled(images, self.device), (left, right, top, bottom), value=-1.0)

    @torch.inference_mode()
    def sample(self, n: int, *, seed: int) -> np.ndarray:
        """Generate images from `n` codes that depend on the seed alone: uint8, `(n, channels, height, width)`."""
        generator = torch.Generator().manual_seed(seed)
        codes = torch.randn((n, self.codes), generator=generator).to(self.device)
        top, left = self._corner()
        window = (..., slice(top, top + self.shape[1]), slice(left, left + self.shape[2]))
        return np.concatenate([quantized(self.decoder(part)[window]) for part in torch.split(codes, SAMPLING_BATCH)])

    def to_bytes(self) -> bytes:
        """Weights and description as one safetensors payload."""
        weights = {name: tensor.cpu().numpy() for name, tensor in self.state_dict().items()}
        return pack(weights, self.description())

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """The generator that `to_bytes` saved."""
        weights, description = unpack(payload)
        model = cls(**{**description, "seed": 0})
        model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        return model

    def description(self) -> dict[str, Any]:
        """Arguments that build a generator of this shape."""
        return {"shape": self.shape}

    def _corner(self) -> tuple[int, int]:
        return (FRAME - self.shape[1]) // 2, (FRAME - self.shape[2]) // 2
