"""How images become vectors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from royalty.models.base.choices import EncoderName, Representation
from royalty.tasks.config.base import StageConfig, Steps


class EncodingConfig(StageConfig):
    """How images become vectors. Features that are given stay as they are.

    Attributes:
        encoder: an encoder of the registry, or `preact-resnet18`, a classifier trained on the validation images.
        width, steps: channels of the first stage, and training steps, of `preact-resnet18`.
        representation: part of the features that items are compared by; see
            `royalty.models.encoders.representation`.
        size: side of the squares that images are resized to, in pixels.
    """

    encoder: EncoderName | Literal["preact-resnet18"] = "efficientnet-lite0"
    width: Annotated[int, Field(ge=4, le=128)] = 16
    steps: Steps = 600
    representation: Representation = "both"
    size: Annotated[int, Field(ge=8, le=512)] = 32
