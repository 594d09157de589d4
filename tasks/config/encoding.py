"""How images become vectors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from royalty.models.base.choices import Representation
from royalty.models.base.registry import Entry, entries_of
from royalty.models.encoders.registry import ENCODERS
from royalty.tasks.config.base import StageConfig, Steps
from royalty.tasks.config.choices import TRAINED_ENCODER, EncodingChoice


class EncodingConfig(StageConfig):
    """How images become vectors. Features that are given stay as they are.

    Attributes:
        encoder: an encoder of the registry, or `preact-resnet18`, a classifier trained on the validation images.
        width, steps: channels of the first stage, and training steps, of `preact-resnet18`.
        representation: part of the features that items are compared by; see
            `royalty.models.encoders.representation`.
        size: side of the squares that images are resized to, in pixels.
    """

    encoder: EncodingChoice = "efficientnet-lite0"
    width: Annotated[int, Field(ge=4, le=128)] = 16
    steps: Steps = 600
    representation: Representation = "both"
    size: Annotated[int, Field(ge=8, le=512)] = 32

    @property
    def trained_here(self) -> bool:
        """Whether the encoder is trained on the validation images."""
        return self.encoder == TRAINED_ENCODER

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The encoder, unless it is trained here; it may need weights, and features depend on its code."""
        return entries_of((self.encoder, ENCODERS))


class FeatureEncoding(EncodingConfig):
    """How images become vectors that do not depend on labels, except through an encoder trained on them."""

    representation: Literal["features", "principal"] = "features"
