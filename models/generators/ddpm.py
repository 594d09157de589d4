"""Denoising diffusion in pixel space (Ho et al. 2020), sampled by UniPC (Zhao et al. 2023) by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from royalty.models.base.serialization import pack, unpack
from royalty.models.data.items import Shown
from royalty.models.generators.denoiser import Denoiser, architecture_from, architecture_of, fresh_unet, saved_unet
from royalty.models.generators.generator import NOTHING_ELSE, Fits, Resources, ScaledImages, quantized, scaled
from royalty.models.generators.libraries import DDPMPipeline, DDPMScheduler
from royalty.models.generators.outline import Outline, outline_of
from royalty.models.generators.stacked import fit_stacked
from royalty.models.generators.unets import Architecture, build_unet

OUTLINED_CLASSES = np.arange(10)
"""Labels that the outline of a conditional model assumes."""


class DDPM(Denoiser):
    """A denoising diffusion model of uint8 images, `(n, channels, height, width)`, optionally class-conditional."""

    KIND: ClassVar[str] = "ddpm"
    PIXELS: ClassVar[bool] = True

    @classmethod
    def build(cls, architecture: Architecture, *, seed: int) -> DDPM:
        """An untrained model with random weights."""
        return cls(fresh_unet(architecture, seed=seed), architecture)

    @classmethod
    def for_images(cls, shown: Shown, *, seed: int, resources: Resources, **settings: Any) -> DDPM:
        """An untrained model for the size of the images, and their classes if it is conditional."""
        channels, size = shown.images.shape[1:3]
        architecture = architecture_of(channels, size, shown.labels, **settings)
        return cls.build(architecture, seed=seed).to(resources.device)

    @classmethod
    def outline(cls, shape: tuple[int, int, int], **settings: Any) -> Outline:
        """The outline of a model for images of a shape; a conditional one is assumed to have ten classes."""
        with torch.device("meta"):
            return outline_of(build_unet(architecture_of(shape[0], shape[1], OUTLINED_CLASSES, **settings)))

    def learned(self, images: np.ndarray) -> Tensor:
        return nn.functional.pixel_unshuffle(scaled(images, self.device), self.architecture.patch)

    def source(self, images: np.ndarray) -> ScaledImages:
        return ScaledImages(images, self.device, self.architecture.patch)

    def pictured(self, samples: Tensor) -> np.ndarray:
        return quantized(nn.functional.pixel_shuffle(samples, self.architecture.patch))

    def fit_many(self, models: Sequence[DDPM], sets: Sequence[Shown], *, seeds: Sequence[int], **training: Any) -> Fits:
        """Train plain nets in a stack: see `royalty.models.generators.stacked.fit_stacked`. Others train in turn."""
        if not self.architecture.plain:
            return super().fit_many(models, sets, seeds=seeds, **training)
        return fit_stacked(models, sets, seeds=seeds, **training)

    def to_bytes(self) -> bytes:
        """Weights and architecture as one safetensors payload."""
        return pack(self.weights, {"kind": self.KIND, **asdict(self.architecture)})

    def export(self, folder: Path) -> None:
        """Write a pipeline folder that diffusers can load: `DDPMPipeline.from_pretrained(folder)`.

        Raises:
            InputError: a pruned or conditional model, or one of patches, for which diffusers has no such pipeline.
        """
        self.check_whole()
        DDPMPipeline(self.unet, DDPMScheduler.from_config(self.scheduler.config)).save_pretrained(folder)

    @classmethod
    def from_bytes(cls, payload: bytes, resources: Resources = NOTHING_ELSE) -> DDPM:
        """The model that `to_bytes` saved, pruned widths included."""
        weights, description = unpack(payload)
        del description["kind"]
        architecture = architecture_from(description)
        return cls(saved_unet(architecture, weights), architecture).to(resources.device)
