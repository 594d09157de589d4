"""Types and the base class that the configurations of all stages share."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
)

TRAINING = {"steps", "batch_size", "learning_rate", "ema_decay"}
"""Settings of a training loop."""


Steps = Annotated[int, Field(ge=1)]


Rate = Annotated[float, Field(gt=0)]


Limit = Annotated[float, Field(ge=0)]


Share = Annotated[float, Field(gt=0, lt=0.5)]


RunName = Annotated[str, Field(pattern=r"^[\w][\w.-]{0,63}$")]


Digits = Annotated[
    tuple[Annotated[int, Field(ge=0, le=9)], ...],
    Field(min_length=2),
    AfterValidator(lambda digits: tuple(sorted(set(digits)))),
]


class StageConfig(BaseModel):
    """Base class of configurations: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
