"""Latent diffusion (Rombach et al. 2022): a denoiser of the latents of a frozen autoencoder."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.errors import InputError
from royalty.models.base.serialization import pack, unpack
from royalty.models.data.items import Shown
from royalty.models.generators.autoencoders import FrozenAutoencoder, load_autoencoder
from royalty.models.generators.denoiser import Denoiser, architecture_from, architecture_of, fresh_unet, saved_unet
from royalty.models.generators.denoising import Optimizing, adam, eight_bit_adam
from royalty.models.generators.generator import NOTHING_ELSE, Resources
from royalty.models.generators.libraries import UNet2DModel
from royalty.models.generators.outline import Outline, outline_of
from royalty.models.generators.pipelines import Autoencoding, autoencoder_in
from royalty.models.generators.unets import Architecture, build_unet

OUTLINED_FACTOR, OUTLINED_CHANNELS = 4, 3
"""The autoencoder that an outline assumes, since it reads none: a quarter of the side and three channels, as VQ-f4."""


class LatentDiffusion(Denoiser):
    """A latent diffusion model of uint8 images, `(n, channels, height, width)`, optionally conditional on classes.

    A model holds its U-Net only; the autoencoder is loaded once per process. With `flip`, the latents of the mirrored
    images are learned too, because they differ slightly from the mirrored latents.

    Args:
        base: name of the autoencoder, which `resources.weights` finds.
        described: kind, digest and downsampling factor of the autoencoder.
        shape: of images: channels, height, width.
    """

    KIND: ClassVar[str] = "latent"
    PIXELS: ClassVar[bool] = False

    def __init__(
        self,
        unet: UNet2DModel,
        architecture: Architecture,
        base: str,
        described: Autoencoding,
        shape: tuple[int, int, int],
        resources: Resources,
    ) -> None:
        super().__init__(unet.to(resources.device), architecture)
        self.base, self.described, self.shape, self.resources = base, described, shape, resources

    @classmethod
    def for_images(
        cls, shown: Shown, *, base: str, seed: int, resources: Resources, **settings: Any
    ) -> LatentDiffusion:
        """An untrained model for the latents of images, and their classes if it is conditional.

        Raises:
            InputError: no such autoencoder, or image sides that the autoencoder and the net cannot downsample evenly.
        """
        described = autoencoder_in(resources.weights(base))
        channels, height, width = shown.images.shape[1:]
        architecture = architecture_of(described.channels, height // described.factor, shown.labels, **settings)
        described.check_side(height, len(architecture.block_channels))
        unet = fresh_unet(architecture, seed=seed)
        return cls(unet, architecture, base, described, (channels, height, width), resources)

    @classmethod
    def outline(cls, shape: tuple[int, int, int], *, base: str, **settings: Any) -> Outline:
        """The outline of a model for images of a shape, assuming an autoencoder like VQ-f4 and, if any, ten classes."""
        side = shape[1] // OUTLINED_FACTOR
        with torch.device("meta"):
            return outline_of(build_unet(architecture_of(OUTLINED_CHANNELS, side, np.arange(10), **settings)))

    def learned(self, images: np.ndarray) -> Tensor:
        return self._autoencoder.latents(images, self.resources.rows)

    def pictured(self, samples: Tensor) -> np.ndarray:
        return self._autoencoder.images(samples, self.shape[0])

    def optimizing(self) -> Optimizing:
        """AdamW; on CUDA with bitsandbytes installed, with 8-bit moments, which take a quarter of the memory."""
        if self.device.type == "cuda" and find_spec("bitsandbytes") is not None:
            return eight_bit_adam
        return adam

    @property
    def _autoencoder(self) -> FrozenAutoencoder:
        return load_autoencoder(self.described, self.resources.device)

    def to_bytes(self) -> bytes:
        """Weights and architecture as one safetensors payload, with the name and digest of the autoencoder."""
        base = {"base": self.base, "base_digest": self.described.digest, "shape": self.shape}
        return pack(self.weights, {"kind": self.KIND, **base, "architecture": asdict(self.architecture)})

    def export(self, folder: Path) -> None:
        """Write a pipeline folder, autoencoder included: `diffusers.LDMPipeline.from_pretrained(folder)`.

        Raises:
            InputError: a pruned or conditional model, for which diffusers has no such pipeline.
        """
        from diffusers import LDMPipeline

        self.check_whole()
        LDMPipeline(self._autoencoder.net, self.unet, self.scheduler).save_pretrained(folder)

    @classmethod
    def from_bytes(cls, payload: bytes, resources: Resources = NOTHING_ELSE) -> LatentDiffusion:
        """The model that `to_bytes` saved, pruned widths included, with the autoencoder that it was trained with.

        Raises:
            InputError: the autoencoder is missing or has changed.
        """
        weights, description = unpack(payload)
        architecture = architecture_from(description["architecture"])
        described = autoencoder_in(resources.weights(description["base"]))
        if described.digest != description["base_digest"]:
            raise InputError(
                f"a model needs the autoencoder it was trained with, {description['base']} with digest "
                f"{description['base_digest'][:12]}; {described.folder} has digest {described.digest[:12]}. Restore "
                "the files, or train again under another name"
            )
        unet = saved_unet(architecture, weights)
        return cls(unet, architecture, description["base"], described, tuple(description["shape"]), resources)
