"""The configuration of a run: one frozen model a stage, parsed once, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from babel.numbers import format_currency, get_currency_precision, is_currency
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from models.choices import EncoderName, ImportanceName, JudgeName, PruningScope, RerankName, SchedulerName
from models.data.columns import Columns
from models.errors import by_name
from models.generators.kinds import module_of
from models.payees import is_iban
from models.payout import Negative, Terms
from models.policies import PolicyName
from models.properties.registry import chosen_property
from models.training import Method, Training
from models.valuation.coalitions import Sizes
from models.valuation.shapley import Estimator

TRAINING = {"steps", "batch_size", "learning_rate", "ema_decay"}

Steps = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Limit = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=0.5)]


def _known_property(written: str) -> str:
    chosen_property(written)
    return written


def _known_scheduler(name: str) -> str:
    known: dict[str, str] = {known: known for known in get_args(SchedulerName)}
    return by_name(name, known, "scheduler")


PropertyChoice = Annotated[str, AfterValidator(_known_property)]
SchedulerChoice = Annotated[SchedulerName, BeforeValidator(_known_scheduler)]
RunName = Annotated[str, Field(pattern=r"^[\w][\w.-]{0,63}$")]


class StageConfig(BaseModel):
    """Base of the configuration of a stage: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HeldOut(StageConfig):
    """Shares of each label that are held out: for validation, and for the classifier of the utility."""

    validation: Share = 0.1
    classifier: Share = 0.25


class DigitsSource(StageConfig):
    """scikit-learn's digits: see `models.data.digits.digits`."""

    source: Literal["digits"] = "digits"
    contributors: Annotated[int, Field(ge=2, le=64)] = 12
    shares: Literal["dirichlet", "by-class"] = "dirichlet"
    concentration: Annotated[float, Field(gt=0)] = 1.0
    blurred_sigma: Annotated[float, Field(ge=0)] = 1.0
    mislabelled: bool = False
    planted: bool = False
    held_out: HeldOut = HeldOut()


class ImageSource(StageConfig):
    """What all sources of image files have: where they are, and the side of the squares that they become."""

    path: Path
    size: Annotated[int, Field(ge=8, le=256, multiple_of=4)] = 32
    held_out: HeldOut = HeldOut()


class FolderSource(ImageSource):
    """A folder of images with `metadata.csv`, `.jsonl` or `.parquet`: see `models.data.folder`."""

    source: Literal["folder"]


class ColumnSource(ImageSource):
    """Images in a column.

    Attributes:
        image, contributor, label, text, license: names of columns; contributor may be the column of labels too.
        names: of labels that are integers, where the files keep none.
        per_label: take the first so many images of each label.
    """

    image: str | None = None
    contributor: str = "contributor"
    label: str = "label"
    text: str = "text"
    license: str = "license"
    names: tuple[str, ...] = ()
    per_label: Annotated[int, Field(ge=1)] | None = None

    @property
    def columns(self) -> Columns:
        return Columns(self.image, self.contributor, self.label, self.text, self.license, self.names)


class ParquetSource(ColumnSource):
    """A Parquet file with an image column, or a folder of such files: see `models.data.columns`."""

    source: Literal["parquet"]


class DatasetSource(ColumnSource):
    """A Hugging Face dataset that `save_to_disk` wrote: see `models.data.columns`."""

    source: Literal["dataset"]
    split: str = "train"


class CifarSource(ImageSource):
    """The Python archive of CIFAR-10 or CIFAR-100; `cifar20` takes four superclasses: see `models.data.cifar`."""

    source: Literal["cifar", "cifar20"]
    split: Literal["train", "test"] = "train"
    per_label: Annotated[int, Field(ge=1)] | None = None


class CelebaSource(ImageSource):
    """CelebA-HQ by identity: see `models.data.celeba`."""

    source: Literal["celeba-hq"]
    size: Annotated[int, Field(ge=8, le=256, multiple_of=4)] = 256
    identities: Annotated[int, Field(ge=2)] = 50
    least: Annotated[int, Field(ge=3)] = 15


class ArtbenchSource(ImageSource):
    """ArtBench-10 by artist: see `models.data.artbench`."""

    source: Literal["artbench"]
    size: Annotated[int, Field(ge=8, le=256, multiple_of=4)] = 256
    style: str | None = "post_impressionism"
    split: Literal["train", "test"] = "train"


FileSource = FolderSource | ParquetSource | DatasetSource | CifarSource | CelebaSource | ArtbenchSource
Source = Annotated[DigitsSource | FileSource, Field(discriminator="source")]


class ClassifierConfig(StageConfig):
    steps: Steps = 700


class GeneratorBase(StageConfig):
    """What generators of all kinds have: `training` says how the kind is trained, `architecture` all else about it."""

    kind: str
    steps: int
    batch_size: Steps
    learning_rate: Rate
    ema_decay: Annotated[float, Field(ge=0, lt=1)]

    @property
    def needs_texts(self) -> bool:
        """Whether every image needs a caption."""
        return False

    def training(self) -> dict[str, Any]:
        """Arguments of `models.generators.generator.Generator.fit`."""
        return self.model_dump(mode="json", include=TRAINING)

    def architecture(self) -> dict[str, Any]:
        """Arguments by which `models.generators.registry.build_generator` builds the kind."""
        return self.model_dump(mode="json", exclude={"kind", *TRAINING})

    def check_size(self, size: int) -> None:
        """Refuse images of a size, in pixels, that the kind cannot make.

        Raises:
            ValueError: with the sizes that it can.
        """


class DDPMConfig(GeneratorBase):
    """See `models.generators.unets.Architecture`.

    Attributes:
        conditional: whether it learns classes, the labels of images.
    """

    kind: Literal["ddpm"] = "ddpm"
    block_channels: Annotated[tuple[Annotated[int, Field(ge=8, multiple_of=4)], ...], Field(min_length=1)] = (16, 32)
    layers_per_block: Annotated[int, Field(ge=1)] = 1
    attention: tuple[Annotated[int, Field(ge=0)], ...] = ()
    head_channels: Annotated[int, Field(ge=1)] | None = None
    groups: Annotated[int, Field(ge=1)] = 4
    objective: Literal["velocity", "noise"] = "velocity"
    conditional: bool = False
    guidance: Annotated[float, Field(ge=0)] = 1.0
    flip: bool = False
    steps: Steps = 600
    batch_size: Steps = 128
    learning_rate: Rate = 5e-3
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995

    @model_validator(mode="after")
    def _widths_divide(self) -> DDPMConfig:
        for width in self.block_channels:
            if width % self.groups:
                raise ValueError(f"`block_channels` are multiples of `groups`, which is {self.groups}; got {width}")
        for level in self.attention:
            if level >= len(self.block_channels):
                raise ValueError(
                    f"`attention` lists levels of `block_channels`, 0 to {len(self.block_channels) - 1}; got {level}"
                )
            if self.head_channels and self.block_channels[level] % self.head_channels:
                raise ValueError(
                    f"widths of levels with attention are multiples of `head_channels`, which is {self.head_channels}; "
                    f"got {self.block_channels[level]}"
                )
        if self.guidance != 1 and not self.conditional:
            raise ValueError(f"`guidance` is of a `conditional` generator, and this one is not; got {self.guidance}")
        return self

    def check_size(self, size: int) -> None:
        halvings = 2 ** (len(self.block_channels) - 1)
        if size % halvings:
            raise ValueError(
                f"each level of the generator halves the image, so with {len(self.block_channels)} "
                f"`generator.block_channels` the size of images is a multiple of {halvings}; got {size}"
            )


class LoRAConfig(GeneratorBase):
    """LoRA on a Stable Diffusion pipeline: see `models.generators.lora`.

    Attributes:
        base: id of a repository on the hub, or a folder, as seen from where the configuration lies.
        prompt: of every image; without one each has its own, in the column `text`.
        rank, targets: of the low-rank updates, and the ends of the names of the layers that have one.
        guidance: scale of classifier-free guidance when sampling; 1 is none.
        warmup_steps: of the learning rate, a tenth of all steps at most.
        mixed_precision: bfloat16 where CUDA is there; a CPU computes in float32.
        gradient_checkpointing: less memory, a third more time.
    """

    kind: Literal["lora"]
    base: Annotated[str, Field(min_length=1)] = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    prompt: Annotated[str, Field(min_length=1)] | None = None
    rank: Annotated[int, Field(ge=2)] = 256
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("to_q", "to_k", "to_v", "to_out.0")
    guidance: Annotated[float, Field(ge=1)] = 7.5
    weight_decay: Limit = 1e-6
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    mixed_precision: bool = True
    gradient_checkpointing: bool = False
    steps: Steps = 15_600
    batch_size: Steps = 64
    learning_rate: Rate = 3e-4
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995

    @property
    def needs_texts(self) -> bool:
        return self.prompt is None


LORA_RUN: Mapping[str, Mapping[str, Any]] = {
    "sampling": {"scheduler": "pndm", "steps": 100},
    "pruning": {"ratio": 0.5},
    "coalitions": {"finetune_steps": 200, "batch_size": 64, "learning_rate": 3e-4},
}
"""What the other stages of a run with a LoRA take unless told otherwise."""


def _known_kind(given: Any) -> Any:
    if isinstance(given, Mapping) and "kind" in given:
        module_of(str(given["kind"]))
    return given


def _kind_of(given: Any) -> str:
    return str(given.get("kind", "ddpm") if isinstance(given, Mapping) else getattr(given, "kind", "ddpm"))


GeneratorConfig = Annotated[
    Annotated[DDPMConfig, Tag("ddpm")] | Annotated[LoRAConfig, Tag("lora")],
    Discriminator(_kind_of),
    BeforeValidator(_known_kind),
]
"""One model a kind; without `kind` it is a DDPM."""


class SamplingConfig(StageConfig):
    """How a generator is sampled when a property of it is measured, and from how many seeds."""

    images: Annotated[int, Field(ge=16)] = 1024
    scheduler: SchedulerChoice = "unipc"
    steps: Steps = 5
    draws: Annotated[int, Field(ge=1, le=100)] = 1


class PruningConfig(StageConfig):
    """How a generator is made smaller: see `models.pruning.prune`.

    Attributes:
        ratio: share of the parameters to remove.
        recovery_steps: on all images, afterwards.
    """

    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.6
    importance: ImportanceName = "magnitude"
    scope: PruningScope = "layer"
    recovery_steps: Annotated[int, Field(ge=1)] = 150


class UnlearningConfig(StageConfig):
    """Settings of the methods `gradient-ascent` and `influence`: see `models.unlearning`."""

    steps: Steps = 10
    learning_rate: Rate = 0.03
    timesteps: Steps = 20
    damping: Rate = 0.1


class CoalitionConfig(StageConfig):
    """How many coalitions, and how the model of each comes about: see `models.retraining`.

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
            None: three a contributor.
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
    """Estimator settings: see `models.valuation.shapley.estimate_shapley`."""

    estimator: Estimator = "auto"
    ridge: Annotated[float, Field(ge=0)] = 0.0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    bootstrap: Annotated[int, Field(ge=100)] = 1000


class GradientConfig(StageConfig):
    """Settings of the gradient baselines: see `models.valuation.gradients` and `models.valuation.influence`."""

    images: Annotated[int, Field(ge=1)] = 64
    timesteps: Steps = 100
    projection: Annotated[int, Field(ge=1)] = 4096
    damping: Rate = 0.5


class EvaluationConfig(StageConfig):
    """How credit is judged: see `flows.evaluate`.

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
    shapley: dict[Method, Annotated[int, Field(ge=2, multiple_of=2)]] = {
        "sparsified": 160,
        "finetune": 96,
        "retrain": 48,
    }
    gradients: GradientConfig = GradientConfig()


class LimitsConfig(StageConfig):
    """The most that gates let pass to a payout, by what `models.gates.measure_gates` measures; None: any."""

    efficiency_gap: Limit | None = None
    marginal_error: Limit | None = None
    interval_width: Limit | None = None
    failed_share: Limit | None = None


class DebtorConfig(StageConfig):
    """Who pays: as their bank knows them.

    Attributes:
        name: of the holder of the account.
        iban: of the account.
        bic: of the bank; None where the IBAN suffices.
    """

    name: Annotated[str, Field(min_length=1, max_length=140)]
    iban: str
    bic: Annotated[str, Field(pattern=r"^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$")] | None = None

    @field_validator("iban")
    @classmethod
    def _is_iban(cls, iban: str) -> str:
        account = "".join(iban.split()).upper()
        if not is_iban(account):
            raise ValueError(f"an IBAN is a country, two check digits that fit, and an account; got {iban!r}")
        return account


class PayoutConfig(StageConfig):
    """The pool, and the terms of its division: see `models.payout.Terms`.

    Attributes:
        name: of the pool; by default that of the run.
        period: that the pool is for, such as 2026-05; a pool is divided once a period.
        minimum: in the currency, as the pool is.
        disputed: names of contributors.
        payees: file of payees; by default `contributors.csv` beside the images. See `models.payees`.
        debtor: who pays, for payment files; see `infra.pain001`.
    """

    pool: Annotated[Decimal, Field(ge=0, max_digits=18)] = Decimal("1000.00")
    currency: str = "EUR"
    name: str | None = None
    period: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    policy: PolicyName = "proportional"
    negative: Negative = "zero"
    floor: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal(0)
    cap: Annotated[Decimal, Field(gt=0, le=1)] = Decimal(1)
    minimum: Annotated[Decimal, Field(ge=0, max_digits=18)] = Decimal(0)
    disputed: tuple[str, ...] = ()
    payees: Path | None = None
    debtor: DebtorConfig | None = None
    limits: LimitsConfig = LimitsConfig()

    @field_validator("currency")
    @classmethod
    def _known_currency(cls, currency: str) -> str:
        if not is_currency(currency):
            raise ValueError(f"a currency is an ISO 4217 code such as EUR, got {currency!r}")
        return currency

    @model_validator(mode="after")
    def _whole_minor_units(self) -> PayoutConfig:
        for what, amount in (("pool", self.pool), ("minimum payment", self.minimum)):
            if amount != amount.quantize(Decimal(1).scaleb(-self.digits)):
                raise ValueError(
                    f"a {what} is a whole number of the smallest units of {self.currency}, which has {self.digits} "
                    f"decimals; got {amount}"
                )
        return self

    @model_validator(mode="after")
    def _floor_below_cap(self) -> PayoutConfig:
        if self.floor > self.cap:
            raise ValueError(f"`floor` is at most `cap`, which is {self.cap}; got {self.floor}")
        return self

    @property
    def digits(self) -> int:
        return int(get_currency_precision(self.currency))

    @property
    def minor_units(self) -> int:
        return int(self.pool.scaleb(self.digits))

    def terms(self, unpayable: frozenset[str] = frozenset()) -> Terms:
        return Terms(
            policy=self.policy,
            negative=self.negative,
            floor=Fraction(self.floor),
            cap=Fraction(self.cap),
            minimum=int(self.minimum.scaleb(self.digits)),
            disputed=frozenset(self.disputed),
            unpayable=unpayable,
        )

    def major_units(self, minor: int) -> Decimal:
        return Decimal(minor).scaleb(-self.digits)

    def formatted(self, minor: int) -> str:
        return str(format_currency(self.major_units(minor), self.currency, locale="en"))


class Matching(StageConfig):
    """How generated images are matched; see `models.valuation.gmvaluator.gmvaluator_values`.

    Attributes:
        encoder: in whose embedding items are recalled.
        rerank: distance by which the recalled are ranked again; `none` keeps the order of the embedding.
        quality: judge of generated images: `realism` on the features of the encoder, a metric of
            `models.quality.registry`, or `none`.
        k, recall_k, temperature: of the valuation. A temperature is in units of the distance that ranks; at 0.1 about
            fifteen of a hundred items share an image by `encoder`, at 1 nearly all do.
    """

    encoder: EncoderName = "efficientnet-lite0"
    rerank: RerankName = "encoder"
    quality: JudgeName = "realism"
    k: Annotated[int, Field(ge=1)] = 100
    recall_k: Annotated[int, Field(ge=1)] | None = None
    temperature: Rate = 0.1

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

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_kind(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or _kind_of(values.get("generator", {})) != "lora":
            return values
        given = {section: values.get(section, {}) for section in LORA_RUN}
        return {
            **values,
            **{name: {**LORA_RUN[name], **own} for name, own in given.items() if isinstance(own, Mapping)},
        }

    @model_validator(mode="after")
    def _generator_can(self) -> CreditConfig:
        method = self.coalitions.method
        if method in ("gradient-ascent", "influence"):
            if self.generator.kind != "ddpm":
                raise ValueError(
                    f"`coalitions.method`: {method} unlearns what a ddpm learned, and the generator is a "
                    f"{self.generator.kind}; take `sparsified`"
                )
            if self.generator.conditional:
                raise ValueError(
                    f"`coalitions.method`: {method} unlearns images of an unconditional generator, and this one is "
                    "`conditional`; take `sparsified`"
                )
        self.generator.check_size(self.data.size if isinstance(self.data, ImageSource) else 8)
        return self
