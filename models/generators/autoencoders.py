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
ENCODING_BATCH = 16
"""Images encoded or decoded at once. The autoencoder works at full resolution, so few images fill a GPU."""


class FrozenAutoencoder:
    """Encodes images to latents and decodes latents to images; latents have the scale that denoisers are trained at."""

    def __init__(self, described: Autoencoding, device: str) -> None:
        self.described, self.device = described, torch.device(device)
        kind: Any = CLASSES[described.kind]
        with loading(described.folder):
            self.net = kind.from_pretrained(described.folder, use_safetensors=True, local_files_only=True)
        self.net.requires_grad_(False).eval().to(self.device)

    def latents(self, images: np.ndarray, cache: RowCache) -> Tensor:
        """Encode images to latents, `(n, channels, height, width)`; of an AutoencoderKL, the mean of the posterior.

        Args:
            images: uint8, `(n, 1 or 3, height, width)`; greyscale is repeated to three channels.
            cache: of latents, so that no image is encoded twice.
        """

        def encode(missing: np.ndarray) -> np.ndarray:
            colour = scaled(images[missing], self.device).expand(-1, self.net.config.in_channels, -1, -1)
            encoded = self.net.encode(colour)
            latents = encoded.latent_dist.mean if self.described.kind == "AutoencoderKL" else encoded.latents
            rows: np.ndarray = (latents * self.net.config.scaling_factor).flatten(1).cpu().numpy()
            return rows

        height, width = images.shape[2:]
        key = f"latents of {height} by {width} of {self.described.digest}"
        rows = cached_rows(cache, key, [item_id(image) for image in images], encode, ENCODING_BATCH)
        latents = torch.from_numpy(rows).to(self.device)
        factor = self.described.factor
        return latents.view(len(images), self.described.channels, height // factor, width // factor)

    @torch.inference_mode()
    def images(self, latents: Tensor, channels: int) -> np.ndarray:
        """Decode latents to uint8 images; images of one channel are the mean over the decoder's channels."""
        parts = torch.split(latents / self.net.config.scaling_factor, ENCODING_BATCH)
        decoded = [self.net.decode(part).sample for part in parts]
        return np.concatenate([quantized(part.mean(1, keepdim=True) if channels == 1 else part) for part in decoded])


@lru_cache(maxsize=2)
def load_autoencoder(described: Autoencoding, device: str) -> FrozenAutoencoder:
    """The autoencoder of a folder, loaded once per process and shared by all models that use it."""
    return FrozenAutoencoder(described, device)
