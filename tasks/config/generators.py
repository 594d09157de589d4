"""Generators: one frozen model a kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from royalty.models.generators.kinds import FRAME, module_of
from royalty.tasks.config.base import TRAINING, Digits, Limit, Rate, StageConfig, Steps


class GeneratorBase(StageConfig):
    """What generators of all kinds have: `training` says how the kind is trained, `architecture` all else about it.

    Attributes:
        gpus: that train the base model together, each by its share of every batch: see
            `royalty.models.generators.together`.
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
    def trained_base(self) -> TrainedBase | None:
        """What is trained before it, for it to stand on."""
        return None

    def training(self) -> dict[str, Any]:
        """Arguments of `royalty.models.generators.generator.Generator.fit`."""
        return self.model_dump(mode="json", include=TRAINING)

    def architecture(self) -> dict[str, Any]:
        """Arguments by which `royalty.models.generators.registry.build_generator` builds the kind."""
        return self.model_dump(mode="json", exclude={"kind", "gpus", *TRAINING})

    @model_validator(mode="after")
    def _each_has_a_share(self) -> GeneratorBase:
        if self.gpus > self.batch_size:
            raise ValueError(f"`gpus` is at most `batch_size`, which is {self.batch_size}; got {self.gpus}")
        return self

    def check_size(self, size: int) -> None:
        """Refuse images of a size, in pixels, that the kind cannot make.

        Raises:
            ValueError: with the sizes that it can.
        """


class DiffusionConfig(GeneratorBase):
    """What takes a large net, and so a GPU.

    Attributes:
        torch_compile: whether the net is compiled where CUDA is there; the first steps then take minutes.
        gradient_checkpointing: less memory, a third more time.
        gradient_accumulation: parts of a batch that are trained one after the other; it learns the same.
    """

    torch_compile: bool = False
    gradient_checkpointing: bool = False
    gradient_accumulation: Annotated[int, Field(ge=1)] = 1


class DenoiserConfig(DiffusionConfig):
    """Of pixels or of latents: see `royalty.models.generators.unets.Architecture`.

    Attributes:
        conditional: whether it learns classes, the labels of images.
        mixed_precision: bfloat16 where CUDA is there; a CPU computes in float32.
    """

    block_channels: Annotated[tuple[Annotated[int, Field(ge=8, multiple_of=4)], ...], Field(min_length=1)] = (16, 32)
    layers_per_block: Annotated[int, Field(ge=1)] = 1
    attention: tuple[Annotated[int, Field(ge=0)], ...] = ()
    head_channels: Annotated[int, Field(ge=1)] | None = None
    groups: Annotated[int, Field(ge=1)] = 4
    objective: Literal["velocity", "noise"] = "velocity"
    conditional: bool = False
    guidance: Annotated[float, Field(ge=0)] = 1.0
    flip: bool = False
    mixed_precision: bool = False
    steps: Steps = 600
    batch_size: Steps = 128
    learning_rate: Rate = 5e-3
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995

    @property
    def needs_labels(self) -> bool:
        return self.conditional

    @model_validator(mode="after")
    def _widths_divide(self) -> DenoiserConfig:
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


class DDPMConfig(DenoiserConfig):
    """See `royalty.models.generators.ddpm`."""

    kind: Literal["ddpm"] = "ddpm"

    def check_size(self, size: int) -> None:
        halvings = 2 ** (len(self.block_channels) - 1)
        if size % halvings:
            raise ValueError(
                f"each level of the generator halves the image, so with {len(self.block_channels)} "
                f"`generator.block_channels` the size of images is a multiple of {halvings}; got {size}"
            )


class LatentConfig(DenoiserConfig):
    """A denoiser of the latents of a frozen autoencoder: see `royalty.models.generators.latent_diffusion`.

    Attributes:
        base: a folder, as seen from where the configuration lies, or id of a repository on the hub: a VQModel, an
            AutoencoderKL, or a pipeline with one.
    """

    kind: Literal["latent"]
    base: Annotated[str, Field(min_length=1)]


Levels = Annotated[tuple[Annotated[int, Field(ge=8, multiple_of=8)], ...], Field(min_length=2)]


class TrainedBase(StageConfig):
    """A small Stable Diffusion pipeline, trained on captioned MNIST digits. Nobody is credited for what it learns.

    Attributes:
        digits: that it learns.
        autoencoder, denoiser, layers, text: see `royalty.models.generators.small_pipeline.Widths`.
        autoencoder_steps, denoiser_steps, batch_size, autoencoder_rate, denoiser_rate: see
            `royalty.models.generators.pipeline_training`.
    """

    digits: Digits = (0, 1, 2, 3, 4)
    autoencoder: Levels = (16, 16, 32)
    denoiser: Levels = (48, 64)
    layers: Annotated[int, Field(ge=1)] = 1
    text: Annotated[int, Field(ge=8, multiple_of=8)] = 32
    autoencoder_steps: Steps = 800
    denoiser_steps: Steps = 2000
    batch_size: Steps = 32
    autoencoder_rate: Rate = 3e-3
    denoiser_rate: Rate = 2e-3


LoRABase = Annotated[
    Annotated[str, Field(min_length=1), Tag("name")] | Annotated[TrainedBase, Tag("trained")],
    Discriminator(lambda given: "trained" if isinstance(given, Mapping | TrainedBase) else "name"),
]


class LatentGeneratorConfig(GeneratorBase):
    """A decoder of random codes: see `royalty.models.generators.latent`."""

    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99

    @model_validator(mode="after")
    def _trains_alone(self) -> LatentGeneratorConfig:
        if self.gpus > 1:
            raise ValueError(f"a {self.kind} is small, and trains on one GPU; got {self.gpus}")
        return self

    def check_size(self, size: int) -> None:
        if size > FRAME:
            raise ValueError(f"a {self.kind} makes images of at most {FRAME} pixels a side; got {size}")


class BetaVAEConfig(LatentGeneratorConfig):
    """See `royalty.models.generators.beta_vae`.

    Attributes:
        beta: weight of the divergence from the prior.
    """

    kind: Literal["beta-vae"]
    beta: Rate = 1.0
    steps: Steps = 1600
    batch_size: Steps = 64
    learning_rate: Rate = 1e-3


class DCGANConfig(LatentGeneratorConfig):
    """See `royalty.models.generators.dcgan`."""

    kind: Literal["dcgan"]
    steps: Steps = 1000
    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Rate = 2e-4


class LoRAConfig(DiffusionConfig):
    """LoRA on a Stable Diffusion pipeline: see `royalty.models.generators.lora`.

    Attributes:
        base: id of a repository on the hub; a folder, as seen from where the configuration lies; or how a small one
            is trained first.
        prompt: of every image; without one each has its own, in the column `text`.
        rank, targets: of the low-rank updates, and the ends of the names of the layers that have one.
        guidance: scale of classifier-free guidance when sampling; 1 is none.
        warmup_steps: of the learning rate, a tenth of all steps at most.
        mixed_precision: bfloat16 where CUDA is there; a CPU computes in float32.
    """

    kind: Literal["lora"]
    base: LoRABase = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    prompt: Annotated[str, Field(min_length=1)] | None = None
    rank: Annotated[int, Field(ge=2)] = 256
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("to_q", "to_k", "to_v", "to_out.0")
    guidance: Annotated[float, Field(ge=1)] = 7.5
    weight_decay: Limit = 1e-6
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    mixed_precision: bool = True
    steps: Steps = 15_600
    batch_size: Steps = 64
    learning_rate: Rate = 3e-4
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995

    @property
    def needs_texts(self) -> bool:
        return self.prompt is None

    @property
    def trained_base(self) -> TrainedBase | None:
        return self.base if isinstance(self.base, TrainedBase) else None

    def check_size(self, size: int) -> None:
        if own := self.trained_base:
            multiple = 2 ** (len(own.autoencoder) + len(own.denoiser) - 2)
            if size % multiple:
                raise ValueError(
                    "each level of `generator.base.autoencoder` and `generator.base.denoiser` but the first halves the "
                    f"image, so its size is a multiple of {multiple}; got {size}"
                )


RUNS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "lora": {
        "sampling": {"scheduler": "pndm", "steps": 100},
        "pruning": {"ratio": 0.5},
        "coalitions": {"finetune_steps": 200, "batch_size": 64, "learning_rate": 3e-4},
    },
    "beta-vae": {"coalitions": {"learning_rate": 1e-3}},
    "dcgan": {"coalitions": {"learning_rate": 2e-4}},
}
"""What the other stages of a run with a kind take unless told otherwise."""


def _known_kind(given: Any) -> Any:
    if isinstance(given, Mapping) and "kind" in given:
        module_of(str(given["kind"]))
    return given


def kind_of(given: Any) -> str:
    return str(given.get("kind", "ddpm") if isinstance(given, Mapping) else getattr(given, "kind", "ddpm"))


GeneratorConfig = Annotated[
    Annotated[DDPMConfig, Tag("ddpm")]
    | Annotated[LatentConfig, Tag("latent")]
    | Annotated[LoRAConfig, Tag("lora")]
    | Annotated[BetaVAEConfig, Tag("beta-vae")]
    | Annotated[DCGANConfig, Tag("dcgan")],
    Discriminator(kind_of),
    BeforeValidator(_known_kind),
]
"""One model a kind; without `kind` it is a DDPM."""
