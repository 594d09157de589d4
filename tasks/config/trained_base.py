"""The configuration of a small pipeline that is trained as the base of LoRAs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from royalty.tasks.config.base import Digits, Rate, StageConfig, Steps

Levels = Annotated[tuple[Annotated[int, Field(ge=8, multiple_of=8)], ...], Field(min_length=2)]


class TrainedBase(StageConfig):
    """A small Stable Diffusion pipeline, trained on captioned MNIST digits. Nobody is credited for what it learns.

    Attributes:
        digits: digits that it learns.
        autoencoder, denoiser, layers, text: sizes of its networks; see
            `royalty.models.generators.small_pipeline.Widths`.
        autoencoder_steps, denoiser_steps, batch_size, autoencoder_rate, denoiser_rate: training settings;
            see `royalty.models.generators.pipeline_training`.
    """

    digits: Digits = (0, 1, 2, 3, 4)
    autoencoder: Levels = (16, 16, 32)
    denoiser: Levels = (48, 64)
    layers: Annotated[int, Field(ge=1)] = 1
    text: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    autoencoder_steps: Steps = 800
    denoiser_steps: Steps = 2000
    batch_size: Steps = 32
    autoencoder_rate: Rate = 3e-3
    denoiser_rate: Rate = 2e-3
