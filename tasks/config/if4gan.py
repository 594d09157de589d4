"""Settings of IF4GAN."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from royalty.tasks.config.base import Rate, StageConfig, Steps


class IF4GANConfig(StageConfig):
    """Settings of IF4GAN; see `royalty.models.valuation.gan_influence.gan_influence`.

    Attributes:
        epochs: passes over the training images by which the trained DCGAN goes on, and through which influence is
            traced. Weights of all steps are held in memory.
        batch_size: images of a step.
        learning_rate: of these steps.
    """

    epochs: Steps = 1
    batch_size: Annotated[int, Field(ge=1)] = 250
    learning_rate: Rate = 0.001
