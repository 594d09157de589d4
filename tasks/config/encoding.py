"""How images become vectors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from royalty.models.base.choices import EncoderName, Representation
from royalty.tasks.config.base import StageConfig, Steps


class EncodingConfig(StageConfig):
    """How images become vectors; features that are given stay as they are.

    Attributes:
        encoder: of the registry; or `preact-resnet18`, a classifier that is trained on the validation images.
        width, steps: of that classifier: channels of its first stage, and steps of training.
        representation: see `royalty.models.encoders.representation`.
        size: side of the square that images are resized to when they are read.
    """

    encoder: EncoderName | Literal["preact-resnet18"] = "efficientnet-lite0"
    width: Annotated[int, Field(ge=4, le=128)] = 16
    steps: Steps = 600
    representation: Representation = "both"
    size: Annotated[int, Field(ge=8, le=512)] = 32
