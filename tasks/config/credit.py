"""The configuration of a run: one frozen model for each stage, parsed once; unknown keys are errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from royalty.models.base.choices import Estimator, ImportanceName, PruningScope, SchedulerName, Semivalue, Sizes
from royalty.models.base.errors import by_name
from royalty.models.base.registry import Entry, entries_of
from royalty.models.encoders.registry import ENCODERS
from royalty.models.generators.training import UNLEARNING, Method, Training
from royalty.models.properties.registry import chosen_property
from royalty.tasks.config.base import TRAINING, Rate, RunName, StageConfig, Steps
from royalty.tasks.config.choices import EncoderChoice
from royalty.tasks.config.generator_base import GeneratorBase
from royalty.tasks.config.generators import RUNS, DDPMConfig, DenoiserConfig, GeneratorConfig, kind_of
from royalty.tasks.config.matching import GrandMatching
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.config.pipelines import check_pipelines
from royalty.tasks.config.sources import DigitsSource, Source, side_of
from royalty.tasks.config.tuning import TuningConfig
from royalty.tasks.config.units import check_units
from royalty.tasks.config.unused import check_unused


def _known_property(name: str) -> str:
    chosen_property(name)
    return name


def _known_scheduler(name: str) -> str:
    schedulers: dict[str, str] = {scheduler: scheduler for scheduler in get_args(SchedulerName)}
    return by_name(name, schedulers, "scheduler")


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"a public contributor is listed once, got {', '.join(twice)} twice; remove the repetition")
    return names


PropertyChoice = Annotated[str, AfterValidator(_known_property)]


SchedulerChoice = Annotated[SchedulerName, BeforeValidator(_known_scheduler)]


class ClassifierConfig(StageConfig):
    """The classifier that judges generated images by their labels.

    Attributes:
        steps: training steps.
    """

    steps: Steps = 700


class SamplingConfig(StageConfig):
    """How images are sampled when the property is measured.

    Attributes:
        images: images sampled from each model; with `stderr`, images of the pilot that decides the number.
        stderr: target standard error of the property over draws of images, in units of the property.
        scheduler: sampler of diffusion models.
        steps: denoising steps of an image.
        draws: independent draws of images from each model.
    """

    images: Annotated[int, Field(ge=16)] = 1024
    stderr: Rate | None = None
    scheduler: SchedulerChoice = "unipc"
    steps: Steps = 5
    draws: Annotated[int, Field(ge=1, le=100)] = 1


class PruningConfig(StageConfig):
    """How the trained generator is made smaller; see `royalty.models.generators.pruning.prune`.

    Attributes:
        ratio: fraction of the parameters to remove.
        importance: how channels are ranked.
        scope: remove the same fraction in every layer, or the least important channels anywhere.
        recovery_steps: training steps on all images after pruning.
    """

    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.6
    importance: ImportanceName = "magnitude"
    scope: PruningScope = "layer"
    recovery_steps: Annotated[int, Field(ge=1)] = 150


class UnlearningConfig(StageConfig):
    """Settings of the methods `gradient-ascent` and `influence`; see `royalty.models.generators.unlearning`."""

    steps: Steps = 10
    learning_rate: Rate = 0.03
    timesteps: Steps = 20
    damping: Rate = 0.1


class CoalitionConfig(StageConfig):
    """How many coalitions are measured, and how their models are made; see `royalty.models.generators.retraining`.

    Attributes:
        method: how the model of a coalition is made.
        units: whether a coalition is a set of contributors, or of images: credit is then a faithful group Shapley
            value, which no second name changes; see `royalty.models.valuation.faithful`.
        groups: number of groups that contributors are divided among, for very many: coalitions are of groups, whose
            credit is divided among their members; see `royalty.models.valuation.grouped`. None: no groups.
        count: largest number of coalitions, not counting the null and the grand coalition.
        sizes: distribution of coalition sizes.
        seeds: trainings of each coalition, from different seeds.
        pipelines: how often the classifier, the base model, its pruned copy and the coalitions are made, each time from
            other seeds. Credit is the mean; see `royalty.models.valuation.pipelines`.
        public: contributors whose images are in every model, that of the null coalition too, and who are not paid.
            Without any, the null coalition's model is a net with random weights.
        finetune_steps, batch_size, learning_rate, ema_decay: training settings of `sparsified` and `finetune`,
            and of the models of single contributors that `pooled` mixes; `retrain` uses those of the generator.
        amortized_steps: training steps of the one model that `amortized` tells coalitions; its other training settings
            are those of `sparsified`.
        unlearning: settings of `gradient-ascent` and `influence`.
        timeout_minutes: time limit of a worker process, which trains one coalition or a few.
    """

    method: Method = "sparsified"
    units: Literal["contributors", "images"] = "contributors"
    groups: Annotated[int, Field(ge=2)] | None = None
    count: Annotated[int, Field(ge=2, multiple_of=2)] = 62
    sizes: Sizes = "leverage"
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    pipelines: Annotated[int, Field(ge=1, le=100)] = 1
    public: Annotated[tuple[str, ...], AfterValidator(_once)] = ()
    finetune_steps: Steps = 70
    amortized_steps: Steps = 280
    batch_size: Steps = 64
    learning_rate: Rate = 3e-3
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    unlearning: UnlearningConfig = UnlearningConfig()
    timeout_minutes: Rate = 60.0

    def players(self, contributors: int) -> int:
        """Number of players of the game: groups, or else contributors."""
        return self.groups or contributors

    def training(self, method: Method, generator: GeneratorBase) -> Training:
        """Training settings of a method."""
        settings = {
            **self.model_dump(include=TRAINING),
            "steps": self.finetune_steps,
            "timesteps": self.unlearning.timesteps,
            "damping": self.unlearning.damping,
        }
        if method == "retrain":
            settings |= generator.training()
        elif method == "amortized":
            settings["steps"] = self.amortized_steps
        elif method == "gradient-ascent":
            settings |= self.unlearning.model_dump(include=TRAINING)
        return Training(**settings)


class StoppingConfig(StageConfig):
    """When enough coalitions are measured. Without a target, all are.

    Attributes:
        stderr: target for the largest standard error of a credit, as a fraction of the standard deviation of all
            credits.
        top: target for ranking; the number of contributors of highest credit that must be stable.
        stability: expected fraction of the `top` contributors that a repetition would name again.
        pilot: coalitions measured before the first check; raised to 2n - 2 for n contributors. None: three for each
            contributor, at least 40.
        step: coalitions measured between checks.
    """

    stderr: Rate | None = None
    top: Annotated[int, Field(ge=1)] | None = None
    stability: Annotated[float, Field(gt=0, lt=1)] = 0.9
    pilot: Annotated[int, Field(ge=2, multiple_of=2)] | None = None
    step: Annotated[int, Field(ge=2, multiple_of=2)] = 16

    @property
    def has_target(self) -> bool:
        """Whether measuring may stop before all coalitions are measured."""
        return self.stderr is not None or self.top is not None


class CreditEstimateConfig(StageConfig):
    """How credit is estimated; see `royalty.models.valuation.shapley.estimate_shapley`.

    Attributes:
        value: the semivalue that is credit; see `royalty.models.valuation.semivalue_estimates`. Others than `shapley`
            are computed of the fitted game, whatever the `estimator`.
        beta: the two parameters of `beta`: a first one above the second weighs small coalitions.
    """

    value: Semivalue = "shapley"
    beta: tuple[Rate, Rate] = (16.0, 1.0)
    estimator: Estimator = "auto"
    ridge: Annotated[float, Field(ge=0)] = 0.0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    bootstrap: Annotated[int, Field(ge=100)] = 1000


class FidelityConfig(StageConfig):
    """How credit from cheap models is corrected; see `royalty.models.valuation.multifidelity`.

    Attributes:
        retrain: coalitions that are also retrained in full. 0: none, and credit is not corrected.
        scaled: multiply cheap utilities by the slope of retrained on cheap ones first.
    """

    retrain: Annotated[int, Field(ge=0)] = 0
    scaled: bool = False


class ImageCreditConfig(StageConfig):
    """How a contributor's credit is divided among images; see `royalty.models.valuation.image_parts`.

    Attributes:
        references: largest number of held-out images that the images of contributors are compared with. 0: credit is
            not divided.
        encoder: encoder in whose features they are compared.
    """

    references: Annotated[int, Field(ge=0)] = 0
    encoder: EncoderChoice = "efficientnet-lite0"

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The encoder's line in the registry; nothing if credit is not divided."""
        return entries_of((self.encoder, ENCODERS)) if self.references else ()


class GradientConfig(StageConfig):
    """Settings of the gradient baselines; see `royalty.models.generators.gradients` and
    `royalty.models.valuation.influence`.
    """

    images: Annotated[int, Field(ge=1)] = 64
    timesteps: Steps = 100
    projection: Annotated[int, Field(ge=1)] = 4096
    damping: Rate = 0.5


class EvaluationConfig(StageConfig):
    """How credit is judged; see `royalty.flows.evaluate`.

    Attributes:
        alphas: sizes of the held-out coalitions, as fractions of all contributors.
        subsets: held-out coalitions of each size in a set.
        seeds: independent sets of held-out coalitions, each trained from a seed of its own.
        again: coalitions of each size of the first set, at most all, that are trained once more, from another seed:
            the noise ceiling. 0: none.
        planted: contributors who are known to be bad. Methods are also judged among coalitions with the same ones of
            them, and among those with none. None: those that the embedded digits plant.
        minutes: time for training held-out coalitions, all workers together. Only those trained in this time are used.
            None: no limit.
        shapley: number of coalitions for the Shapley credit that is judged, by method.
        gradients: settings of the gradient baselines.
    """

    alphas: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.25, 0.5, 0.75)
    subsets: Annotated[int, Field(ge=3)] = 40
    seeds: Annotated[int, Field(ge=1)] = 3
    again: Annotated[int, Field(ge=0)] = 20
    planted: tuple[str, ...] | None = None
    minutes: Rate | None = 90.0
    shapley: dict[Method, Annotated[int, Field(ge=2, multiple_of=2)]] = Field(
        default={"sparsified": 160, "finetune": 96, "retrain": 48}
    )
    gradients: GradientConfig = GradientConfig()


class CreditConfig(StageConfig):
    """Configuration of a run; the defaults credit the embedded digits.

    `name` stands for one configuration in a run store; another configuration needs another name.
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
    fidelity: FidelityConfig = FidelityConfig()
    image_credit: ImageCreditConfig = ImageCreditConfig()
    matching: GrandMatching = GrandMatching()
    payout: PayoutConfig = PayoutConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tuning: TuningConfig = TuningConfig()

    def claimed(self) -> dict[str, Any]:
        """Settings that the name stands for: all except `evaluation` and `tuning`, whether a payout is posted, and up
        to which day images were made: as with files, new ones change the images, and no setting.
        """
        return self.model_dump(
            mode="json",
            exclude={"evaluation": True, "tuning": True, "payout": {"post", "take_back"}, "data": {"until"}},
        )

    @classmethod
    def reread(cls, claimed: Mapping[str, Any]) -> Mapping[str, Any]:
        """Complete the claimed settings of an earlier version with defaults for newer settings.

        Settings that are no longer valid are returned unchanged.
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
        defaults = RUNS.get(kind_of(values.get("generator", {})), {})
        sections = {section: values.get(section, {}) for section in defaults}
        return {
            **values,
            **{
                name: {**defaults[name], **section}
                for name, section in sections.items()
                if isinstance(section, Mapping)
            },
        }

    @model_validator(mode="after")
    def _generator_can(self) -> CreditConfig:
        chosen = {"coalitions.method": self.coalitions.method}
        chosen |= {f"evaluation.shapley.{method}": method for method in self.evaluation.shapley}
        for setting, method in chosen.items():
            self._can_use_denoiser(setting, method)
        self.generator.check_size(side_of(self.data))
        return self

    @model_validator(mode="after")
    def _fits_units(self) -> CreditConfig:
        check_units(self)
        check_pipelines(self)
        check_unused(self)
        return self

    @model_validator(mode="after")
    def _can_correct(self) -> CreditConfig:
        retrained = self.fidelity.retrain
        if self.coalitions.method == "amortized" and not (retrained and self.fidelity.scaled):
            raise ValueError(
                "credit by `coalitions.method: amortized` may be the wrong way round, as only retrained models show. "
                f"Got `fidelity.retrain: {retrained}` and `fidelity.scaled: {str(self.fidelity.scaled).lower()}`. Set "
                "`fidelity: {retrain: 12, scaled: true}`, or take `sparsified`"
            )
        if retrained and self.coalitions.method == "retrain":
            raise ValueError(
                f"`fidelity.retrain` corrects cheap models, and `coalitions.method` is `retrain`; got {retrained}. Set "
                "it to 0"
            )
        if retrained and self.credit.value != "shapley":
            raise ValueError(
                f"`fidelity.retrain` corrects Shapley values, and `credit.value` is `{self.credit.value}`; got "
                f"{retrained}. Set it to 0"
            )
        if retrained and self.stopping.has_target:
            raise ValueError(
                "the targets of `stopping` end the measuring by credit that is not corrected yet, and "
                f"`fidelity.retrain: {retrained}` corrects it afterwards, which widens its intervals. Leave out "
                "`stopping.stderr` and `stopping.top`, or set `fidelity.retrain` to 0"
            )
        if retrained > self.coalitions.count:
            raise ValueError(
                f"`fidelity.retrain` is at most `coalitions.count`, which is {self.coalitions.count}: coalitions are "
                f"compared with their cheap models; got {retrained}. Lower it"
            )
        return self

    def _can_use_denoiser(self, setting: str, method: Method) -> None:
        if method in ("amortized", *UNLEARNING):
            does = "tells coalitions to" if method == "amortized" else "unlearns images of"
            if not isinstance(self.generator, DenoiserConfig):
                raise ValueError(
                    f"`{setting}`: {method} {does} a denoiser, and the generator is a "
                    f"{self.generator.kind}; take `sparsified`"
                )
            if self.generator.conditional:
                raise ValueError(
                    f"`{setting}`: {method} {does} an unconditional generator, and this one is "
                    "`conditional`; take `sparsified`"
                )
