"""Latent diffusion (Rombach et al. 2022): a denoiser of what a frozen autoencoder makes of images."""

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
"""What an outline takes of an autoencoder that it does not read: a quarter of the side and three channels, as VQ-f4."""


class LatentDiffusion(Denoiser):
    """A latent diffusion model of uint8 images, `(n, channels, height, width)`, unconditional or of classes.

    A model holds its U-Net alone; the autoencoder is one a process. Where images may be mirrored, the latents of both
    are learned: those of a mirrored image are not quite its latents mirrored.

    Args:
        base: name of the autoencoder, which `resources.weights` finds.
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
        """A model of the latents of images, and of their classes if it is conditional: see `architecture_of`.

        Raises:
            InputError: no such autoencoder, or images that it and the net cannot halve as often as they do.
        """
        described = autoencoder_in(resources.weights(base))
        channels, height, width = shown.images.shape[1:]
        architecture = architecture_of(described.channels, height // described.factor, shown.labels, **settings)
        described.check_side(height, len(architecture.block_channels))
        unet = fresh_unet(architecture, seed=seed)
        return cls(unet, architecture, base, described, (channels, height, width), resources)

    @classmethod
    def outline(cls, shape: tuple[int, int, int], *, base: str, **settings: Any) -> Outline:
        """What a model of images of a shape will be, on an autoencoder like VQ-f4; of ten classes if conditional."""
        side = shape[1] // OUTLINED_FACTOR
        with torch.device("meta"):
            return outline_of(build_unet(architecture_of(OUTLINED_CHANNELS, side, np.arange(10), **settings)))

    def learned(self, images: np.ndarray) -> Tensor:
        return self._autoencoder.latents(images, self.resources.rows)

    def pictured(self, made: Tensor) -> np.ndarray:
        return self._autoencoder.images(made, self.shape[0])

    def optimizing(self) -> Optimizing:
        """Adam, its moments in 8 bits where CUDA and bitsandbytes are there: a quarter of their memory."""
        if self.device.type == "cuda" and find_spec("bitsandbytes") is not None:
            return eight_bit_adam
        return adam

    @property
    def _autoencoder(self) -> FrozenAutoencoder:
        return load_autoencoder(self.described, self.resources.device)

    def to_bytes(self) -> bytes:
        """Weights and architecture as one safetensors payload; of the autoencoder its name and digest."""
        own = {"base": self.base, "base_digest": self.described.digest, "shape": self.shape}
        return pack(self.weights, {"kind": self.KIND, **own, "architecture": asdict(self.architecture)})

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
        """The model that `to_bytes` saved, pruned widths included, on the autoencoder that it learned the latents of.

        Raises:
            InputError: the autoencoder is not here, or no longer the same.
        """
        weights, description = unpack(payload)
        architecture = architecture_from(description["architecture"])
        described = autoencoder_in(resources.weights(description["base"]))
        if described.digest != description["base_digest"]:
            raise InputError(
                f"this model was trained on latents of the files {description['base_digest'][:12]} of the autoencoder "
                f"{description['base']}, and {described.folder} holds {described.digest[:12]}; restore them, or train "
                "anew under another name"
            )
        unet = saved_unet(architecture, weights)
        return cls(unet, architecture, description["base"], described, tuple(description["shape"]), resources)
