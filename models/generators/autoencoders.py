"""Frozen autoencoders of diffusers (VQModel, AutoencoderKL): loaded once a process, and no image encoded twice."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from royalty.models.data.items import item_id
from royalty.models.generators.generator import RowCache, cached_rows, quantized, scaled
from royalty.models.generators.libraries import AutoencoderKL, VQModel
from royalty.models.generators.pipelines import Autoencoding, loading

CLASSES = {"AutoencoderKL": AutoencoderKL, "VQModel": VQModel}
AT_ONCE = 16
"""Images that pass through it together: it works on whole images, of which few fill a GPU."""


class FrozenAutoencoder:
    """Makes latents of images and images of latents; latents have the scale that a denoiser learns them in."""

    def __init__(self, described: Autoencoding, device: str) -> None:
        self.described, self.device = described, torch.device(device)
        kind: Any = CLASSES[described.kind]
        with loading(described.folder):
            self.net = kind.from_pretrained(described.folder, use_safetensors=True, local_files_only=True)
        self.net.requires_grad_(False).eval().to(self.device)

    def latents(self, images: np.ndarray, rows: RowCache) -> Tensor:
        """Latents `(n, channels, height, width)`, of an AutoencoderKL the mean of what an image may become.

        Args:
            images: uint8, `(n, 1 or 3, height, width)`; grey ones are shown in colour.
            rows: keeps them.
        """

        def encode(missing: np.ndarray) -> np.ndarray:
            shown = scaled(images[missing], self.device).expand(-1, self.net.config.in_channels, -1, -1)
            encoded = self.net.encode(shown)
            latents = encoded.latent_dist.mean if self.described.kind == "AutoencoderKL" else encoded.latents
            found: np.ndarray = (latents * self.net.config.scaling_factor).flatten(1).cpu().numpy()
            return found

        height, width = images.shape[2:]
        key = f"latents of {height} by {width} of {self.described.digest}"
        found = cached_rows(rows, key, [item_id(image) for image in images], encode, AT_ONCE)
        made = torch.from_numpy(found).to(self.device)
        factor = self.described.factor
        return made.view(len(images), self.described.channels, height // factor, width // factor)

    @torch.inference_mode()
    def images(self, latents: Tensor, channels: int) -> np.ndarray:
        """Images of latents, uint8; of one channel they are the mean of what the decoder makes."""
        parts = torch.split(latents / self.net.config.scaling_factor, AT_ONCE)
        made = [self.net.decode(part).sample for part in parts]
        return np.concatenate([quantized(part.mean(1, keepdim=True) if channels == 1 else part) for part in made])


@lru_cache(maxsize=2)
def load_autoencoder(described: Autoencoding, device: str) -> FrozenAutoencoder:
    """The autoencoder of a folder, once a process: all models that stand on it share its memory."""
    return FrozenAutoencoder(described, device)
