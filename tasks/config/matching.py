"""How generated images are matched with training images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from royalty.models.base.choices import EncoderName, JudgeName, RerankName
from royalty.tasks.config.base import Rate, StageConfig


class Matching(StageConfig):
    """How generated images are matched; see `royalty.models.valuation.gmvaluator.gmvaluator_values`.

    Attributes:
        encoder: in whose embedding items are recalled.
        rerank: distance by which the recalled are ranked again; `none` keeps the order of the embedding.
        quality: judge of generated images: `realism` on the features of the encoder, a metric of
            `royalty.models.quality.registry`, or `none`.
        k, recall_k, temperature: of the valuation. A temperature is in units of the distance that ranks; at 0.1 about
            fifteen of a hundred items share an image by `encoder`, at 1 nearly all do.
    """

    encoder: EncoderName = "efficientnet-lite0"
    rerank: RerankName = "encoder"
    quality: JudgeName = "realism"
    k: Annotated[int, Field(ge=1)] = 100
    recall_k: Annotated[int, Field(ge=1)] | None = None
    temperature: Rate = 0.1

    @property
    def chosen(self) -> tuple[str, str, str]:
        """What may need weights."""
        return self.encoder, self.rerank, self.quality

    @model_validator(mode="after")
    def _recalls_enough(self) -> Matching:
        if self.recall_k is not None and self.recall_k < self.k:
            raise ValueError(f"`recall_k` is at least `k`, which is {self.k}; got {self.recall_k}")
        return self


class GrandMatching(Matching):
    """How images that everybody's model makes are matched.

    Attributes:
        images: how many it makes.
    """

    images: Annotated[int, Field(ge=1)] = 256
