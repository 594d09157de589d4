"""What the configurations of all kinds of generators share, and that of kinds without rules of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from royalty.models.generators.kinds import KINDS
from royalty.tasks.config.base import TRAINING, Rate, StageConfig, Steps
from royalty.tasks.config.trained_base import TrainedBase


class GeneratorBase(StageConfig):
    """Settings of all generators. `training` returns those of the training loop, `architecture` the others.

    Attributes:
        kind: the kind of generator.
        gpus: GPUs that train the base model together, each on an equal part of every batch; see
            `royalty.models.generators.together`.
        steps: training steps of the base model.
        batch_size: images in a training batch.
        learning_rate: learning rate of the base model.
        ema_decay: decay per step of the exponential moving average of the weights.
    """

    kind: str
    gpus: Annotated[int, Field(ge=1)] = 1
    steps: int
    batch_size: Steps
    learning_rate: Rate
    ema_decay: Annotated[float, Field(ge=0, lt=1)]

    @property
    def needs_labels(self) -> bool:
        """Whether every image needs a label."""
        return False

    @property
    def needs_texts(self) -> bool:
        """Whether every image needs a caption."""
        return False

    @property
    def share_process(self) -> bool:
        """Whether models of several coalitions are trained in one process: as a stack, or since starting one costs."""
        return True

    @property
    def trained_base(self) -> TrainedBase | None:
        """The small pipeline that is trained first as its base; None if there is none."""
        return None

    def training(self) -> dict[str, Any]:
        """Keyword arguments of `royalty.models.generators.generator.Generator.fit`."""
        return self.model_dump(mode="json", include=TRAINING)

    def architecture(self) -> dict[str, Any]:
        """Keyword arguments by which `royalty.models.generators.registry.build_generator` builds the kind."""
        return self.model_dump(mode="json", exclude={"kind", "gpus", *TRAINING})

    @model_validator(mode="after")
    def _gpus_have_images(self) -> GeneratorBase:
        if self.gpus > self.batch_size:
            raise ValueError(f"`gpus` is at most `batch_size`, which is {self.batch_size}; got {self.gpus}")
        return self

    def check_size(self, size: int) -> None:
        """Check that the kind can make square images of this size, in pixels.

        Raises:
            ValueError: it cannot; the message has the sizes that it can make.
        """


class AddedConfig(GeneratorBase):
    """A kind without a model of its own: its settings are those of its line in `royalty.models.generators.kinds`.

    They have the types of their defaults; further rules are checked by the kind itself, when it is built.
    """

    model_config = ConfigDict(extra="allow")
    steps: Steps = 1000
    batch_size: Steps = 64
    learning_rate: Rate = 1e-3
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995

    @model_validator(mode="before")
    @classmethod
    def _settings_of_kind(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        kind, defaults = values["kind"], KINDS[values["kind"]].settings
        accepted = {**cls.model_fields, **defaults}
        for key in values:
            if key not in accepted:
                raise ValueError(f"a {kind} has the settings {', '.join(accepted)}; got `{key}`")
        own = {key: _like(defaults[key], values[key], key) for key in defaults.keys() & values.keys()}
        return {**defaults, **values, **own}


def _like(default: Any, value: Any, key: str) -> Any:
    """A value as the type of a setting's default.

    Raises:
        ValueError: it cannot be one.
    """
    kind = type(default)
    try:
        return TypeAdapter(Any if default is None else kind).validate_python(value)
    except ValidationError:
        raise ValueError(f"`{key}` is of type {kind.__name__}, as its default {default!r}; got {value!r}") from None
