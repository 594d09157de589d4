"""The configuration of a run: one frozen model a stage, parsed once, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from royalty.models.base.choices import ImportanceName, PruningScope, SchedulerName
from royalty.models.base.errors import by_name
from royalty.models.generators.training import Method, Training
from royalty.models.properties.registry import chosen_property
from royalty.models.valuation.coalitions import Sizes
from royalty.models.valuation.shapley import Estimator
from royalty.tasks.config.base import TRAINING, Rate, RunName, StageConfig, Steps
from royalty.tasks.config.generators import RUNS, DDPMConfig, DenoiserConfig, GeneratorBase, GeneratorConfig, kind_of
from royalty.tasks.config.matching import GrandMatching
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.config.sources import DigitsSource, Source, side_of


def _known_property(written: str) -> str:
    chosen_property(written)
    return written


def _known_scheduler(name: str) -> str:
    known: dict[str, str] = {known: known for known in get_args(SchedulerName)}
    return by_name(name, known, "scheduler")


PropertyChoice = Annotated[str, AfterValidator(_known_property)]


SchedulerChoice = Annotated[SchedulerName, BeforeValidator(_known_scheduler)]


class ClassifierConfig(StageConfig):
    steps: Steps = 700


class SamplingConfig(StageConfig):
    """How a generator is sampled when a property of it is measured, and from how many seeds.

    Attributes:
        images: of each model; where `stderr` is given, of the pilot that their number is reckoned from.
        stderr: standard error that the property of a model shall have over draws of its images, in its own units.
    """

    images: Annotated[int, Field(ge=16)] = 1024
    stderr: Rate | None = None
    scheduler: SchedulerChoice = "unipc"
    steps: Steps = 5
    draws: Annotated[int, Field(ge=1, le=100)] = 1


class PruningConfig(StageConfig):
    """How a generator is made smaller: see `royalty.models.generators.pruning.prune`.

    Attributes:
        ratio: share of the parameters to remove.
        recovery_steps: on all images, afterwards.
    """

    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.6
    importance: ImportanceName = "magnitude"
    scope: PruningScope = "layer"
    recovery_steps: Annotated[int, Field(ge=1)] = 150


class UnlearningConfig(StageConfig):
    """Settings of the methods `gradient-ascent` and `influence`: see `royalty.models.generators.unlearning`."""

    steps: Steps = 10
    learning_rate: Rate = 0.03
    timesteps: Steps = 20
    damping: Rate = 0.1


class CoalitionConfig(StageConfig):
    """How many coalitions, and how the model of each comes about: see `royalty.models.generators.retraining`.

    Attributes:
        count: coalitions at most, nobody and everybody not counted.
        seeds: trainings of each, from seeds of their own.
        finetune_steps, batch_size, learning_rate, ema_decay: of `sparsified` and `finetune`; `retrain`
            takes those of the generator.
        timeout_minutes: of one worker's share, a few coalitions.
    """

    method: Method = "sparsified"
    count: Annotated[int, Field(ge=2, multiple_of=2)] = 62
    sizes: Sizes = "leverage"
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    finetune_steps: Steps = 70
    batch_size: Steps = 64
    learning_rate: Rate = 3e-3
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    unlearning: UnlearningConfig = UnlearningConfig()
    timeout_minutes: Rate = 60.0

    def training(self, method: Method, generator: GeneratorBase) -> Training:
        """What a method trains with."""
        settings = {
            **self.model_dump(include=TRAINING),
            "steps": self.finetune_steps,
            "timesteps": self.unlearning.timesteps,
            "damping": self.unlearning.damping,
        }
        if method == "retrain":
            settings |= generator.training()
        elif method == "gradient-ascent":
            settings |= self.unlearning.model_dump(include=TRAINING)
        return Training(**settings)


class StoppingConfig(StageConfig):
    """When coalitions are enough; without a target all of them are measured.

    Attributes:
        stderr: largest standard error of a credit, as a share of the standard deviation of all credits.
        top, stability: so many contributors of highest credit, and the least expected share of them that a
            repetition would name again.
        pilot: coalitions measured before the first look, at least two less than twice as many as contributors;
            None: three a contributor, and 40 at least.
        step: coalitions between looks.
    """

    stderr: Rate | None = None
    top: Annotated[int, Field(ge=1)] | None = None
    stability: Annotated[float, Field(gt=0, lt=1)] = 0.9
    pilot: Annotated[int, Field(ge=2, multiple_of=2)] | None = None
    step: Annotated[int, Field(ge=2, multiple_of=2)] = 16

    @property
    def has_target(self) -> bool:
        return self.stderr is not None or self.top is not None


class CreditEstimateConfig(StageConfig):
    """Estimator settings: see `royalty.models.valuation.shapley.estimate_shapley`."""

    estimator: Estimator = "auto"
    ridge: Annotated[float, Field(ge=0)] = 0.0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    bootstrap: Annotated[int, Field(ge=100)] = 1000


class GradientConfig(StageConfig):
    """Settings of the gradient baselines: see `royalty.models.generators.gradients` and
    `royalty.models.valuation.influence`.
    """

    images: Annotated[int, Field(ge=1)] = 64
    timesteps: Steps = 100
    projection: Annotated[int, Field(ge=1)] = 4096
    damping: Rate = 0.5


class EvaluationConfig(StageConfig):
    """How credit is judged: see `royalty.flows.evaluate`.

    Attributes:
        alphas, subsets, seeds: sizes of held-out coalitions as shares of all contributors, how many of each
            size, and how many trainings of each.
        minutes: for the training of held-out coalitions, all workers together; what is trained when they
            are over is judged on. None: as long as it takes.
        shapley: coalitions for the Shapley credit by each method.
    """

    alphas: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.25, 0.5, 0.75)
    subsets: Annotated[int, Field(ge=3)] = 40
    seeds: Annotated[int, Field(ge=1)] = 3
    minutes: Rate | None = 90.0
    shapley: dict[Method, Annotated[int, Field(ge=2, multiple_of=2)]] = Field(
        default={"sparsified": 160, "finetune": 96, "retrain": 48}
    )
    gradients: GradientConfig = GradientConfig()


class CreditConfig(StageConfig):
    """One configuration a stage; the defaults credit the embedded digits.

    `name` stands for one configuration in a run store: another one needs another name.
    """

    name: RunName = "digits"
    seed: int = Field(default=0, ge=0, lt=2**31)
    data: Source = DigitsSource()
    classifier: ClassifierConfig = ClassifierConfig()
    generator: GeneratorConfig = DDPMConfig()
    property: PropertyChoice = "inception-score"
    sampling: SamplingConfig = SamplingConfig()
    pruning: PruningConfig = PruningConfig()
    coalitions: CoalitionConfig = CoalitionConfig()
    stopping: StoppingConfig = StoppingConfig()
    credit: CreditEstimateConfig = CreditEstimateConfig()
    matching: GrandMatching = GrandMatching()
    payout: PayoutConfig = PayoutConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    def claimed(self) -> dict[str, Any]:
        """What the name stands for: all but how the result is judged."""
        return self.model_dump(mode="json", exclude={"evaluation"})

    @classmethod
    def reread(cls, claimed: Mapping[str, Any]) -> Mapping[str, Any]:
        """What an earlier version claimed, with settings that it did not know at their defaults.

        What is no configuration any more stays as it is.
        """
        try:
            return cls.model_validate(claimed).claimed()
        except ValidationError:
            return claimed

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_kind(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        usual = RUNS.get(kind_of(values.get("generator", {})), {})
        given = {section: values.get(section, {}) for section in usual}
        return {
            **values,
            **{name: {**usual[name], **own} for name, own in given.items() if isinstance(own, Mapping)},
        }

    @model_validator(mode="after")
    def _generator_can(self) -> CreditConfig:
        method = self.coalitions.method
        if method in ("gradient-ascent", "influence"):
            if not isinstance(self.generator, DenoiserConfig):
                raise ValueError(
                    f"`coalitions.method`: {method} unlearns what a denoiser learned, and the generator is a "
                    f"{self.generator.kind}; take `sparsified`"
                )
            if self.generator.conditional:
                raise ValueError(
                    f"`coalitions.method`: {method} unlearns images of an unconditional generator, and this one is "
                    "`conditional`; take `sparsified`"
                )
        self.generator.check_size(side_of(self.data))
        return self
