"""The settings that `royalty tune` compares."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from royalty.models.judging.tuning import LEAST
from royalty.tasks.config.base import StageConfig, Steps


class TuningConfig(StageConfig):
    """Candidates of `royalty tune`, which compares all combinations of them; see `royalty.models.judging.tuning`.

    Attributes:
        retrain: coalitions that are retrained in full.
        finetune_steps: candidates of `coalitions.finetune_steps`. Empty: half, once and three times the configured
            number.
        ratio: candidates of `pruning.ratio`. Empty: the configured one.
        images: candidates of `sampling.images`. Empty: a quarter, a half and all of the configured number.
        steps: candidates of `sampling.steps`. Empty: the configured one.
    """

    retrain: Annotated[int, Field(ge=LEAST)] = 12
    finetune_steps: tuple[Steps, ...] = ()
    ratio: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    images: tuple[Annotated[int, Field(ge=16)], ...] = ()
    steps: tuple[Steps, ...] = ()
