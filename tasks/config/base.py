"""Types and the base class that the configurations of all stages share."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
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

    @model_validator(mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, values: Any) -> Any:
        """Python takes true for the number 1."""
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and not _takes_truth_values(field.annotation):
                raise ValueError(f"`{name}` is no truth value (got {value}); write a number or a text")
        return values


def _takes_truth_values(annotation: object) -> bool:
    return (
        annotation in (bool, Any) or isinstance(annotation, bool) or any(map(_takes_truth_values, get_args(annotation)))
    )
