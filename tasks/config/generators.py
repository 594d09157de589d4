"""Configurations of generators: one frozen model for each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from royalty.models.generators.kinds import FRAME, module_of
from royalty.tasks.config.base import Limit, Rate, Steps
from royalty.tasks.config.generator_base import AddedConfig, GeneratorBase
from royalty.tasks.config.trained_base import TrainedBase


class DiffusionConfig(GeneratorBase):
    """Settings for training large networks on a GPU.

    Attributes:
        torch_compile: compile the network on CUDA. The first steps then take minutes.
        gradient_checkpointing: use less memory and about a third more time.
        gradient_accumulation: number of parts in which each batch is trained. The result is the same.
    """

    torch_compile: bool = False
    gradient_checkpointing: bool = False
    gradient_accumulation: Annotated[int, Field(ge=1)] = 1


class DenoiserConfig(DiffusionConfig):
    """A diffusion model of pixels or of latents; see `royalty.models.generators.unets.Architecture`.

    Attributes:
        block_channels: channels of each level of the U-Net, multiples of `groups`.
        layers_per_block: residual blocks of a level.
        attention: levels with self-attention; level 0 is the full image.
        conditional: learn the labels of images, and generate each label in turn.
        guidance: scale of classifier-free guidance of a `conditional` generator; 1 is none.
        flip: mirror training images at random.
        mixed_precision: train and sample in bfloat16, on CUDA and on CPUs with instructions for it (AVX512-BF16, AMX);
            others compute in float32.
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

    @property
    def share_process(self) -> bool:
        return False

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
            raise ValueError(
                f"`guidance` is for a `conditional` generator, and this one is not conditional; got {self.guidance}"
            )
        return self


class DDPMConfig(DenoiserConfig):
    """A diffusion model of pixels; see `royalty.models.generators.ddpm`.

    Attributes:
        patch: side of the squares of pixels that the net sees as one position.
    """

    kind: Literal["ddpm"] = "ddpm"
    patch: Literal[1, 2, 4] = 1

    @property
    def share_process(self) -> bool:
        apart = self.attention or self.flip or self.torch_compile or self.gradient_checkpointing
        return self.patch == 1 and not apart  # as a stack

    def check_size(self, size: int) -> None:
        halvings = self.patch * 2 ** (len(self.block_channels) - 1)
        if size % halvings:
            patches = f" of patches of {self.patch}" if self.patch > 1 else ""
            raise ValueError(
                f"each level of the generator after the first halves the image, so with {len(self.block_channels)} "
                f"`generator.block_channels`{patches} the size of images is a multiple of {halvings}; got {size}"
            )


class LatentConfig(DenoiserConfig):
    """A diffusion model of the latents of a frozen autoencoder; see `royalty.models.generators.latent_diffusion`.

    Attributes:
        base: the frozen autoencoder (a VQModel, an AutoencoderKL, or a pipeline that has one); a folder, relative to
            the configuration file, or a repository on the Hugging Face hub.
    """

    kind: Literal["latent"]
    base: Annotated[str, Field(min_length=1)]


LoRABase = Annotated[
    Annotated[str, Field(min_length=1), Tag("name")] | Annotated[TrainedBase, Tag("trained")],
    Discriminator(lambda base: "trained" if isinstance(base, Mapping | TrainedBase) else "name"),
]
"""A pretrained pipeline by its name, or a small one that is trained first."""


class LatentGeneratorConfig(GeneratorBase):
    """A decoder of random codes; see `royalty.models.generators.latent`."""

    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99

    @model_validator(mode="after")
    def _one_gpu(self) -> LatentGeneratorConfig:
        if self.gpus > 1:
            raise ValueError(f"`gpus` is 1 for a {self.kind}, which is small; got {self.gpus}")
        return self

    def check_size(self, size: int) -> None:
        if size > FRAME:
            raise ValueError(f"a {self.kind} makes images of at most {FRAME} pixels a side; got {size}")


class BetaVAEConfig(LatentGeneratorConfig):
    """A beta-VAE; see `royalty.models.generators.beta_vae`.

    Attributes:
        beta: weight of the divergence from the prior.
    """

    kind: Literal["beta-vae"]
    beta: Rate = 1.0
    steps: Steps = 1600
    batch_size: Steps = 64
    learning_rate: Rate = 1e-3


class DCGANConfig(LatentGeneratorConfig):
    """A DCGAN; see `royalty.models.generators.dcgan`."""

    kind: Literal["dcgan"]
    steps: Steps = 1000
    batch_size: Annotated[int, Field(ge=2)] = 64
    learning_rate: Rate = 2e-4


class LoRAConfig(DiffusionConfig):
    """A LoRA on a Stable Diffusion pipeline; see `royalty.models.generators.lora`.

    Attributes:
        base: the pipeline; a folder, relative to the configuration file, a repository on the Hugging Face hub, or the
            settings of a small pipeline that is trained first.
        prompt: prompt of every image. None: each image needs a caption in the column `text`.
        rank: rank of the low-rank updates.
        targets: ends of the names of the layers that are adapted.
        guidance: scale of classifier-free guidance when sampling; 1 is none.
        weight_decay: weight decay of AdamW.
        warmup_steps: steps over which the learning rate rises, at most a tenth of all steps.
        mixed_precision: train and sample in bfloat16 on CUDA. A CPU always computes in float32.
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
        if base := self.trained_base:
            multiple = 2 ** (len(base.autoencoder) + len(base.denoiser) - 2)
            if size % multiple:
                raise ValueError(
                    "each level of `generator.base.autoencoder` and `generator.base.denoiser` after the first halves "
                    f"the image, so its size is a multiple of {multiple}; got {size}"
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
"""Defaults of other sections of the configuration, by kind of generator and section."""


def _known_kind(values: Any) -> Any:
    if isinstance(values, Mapping) and "kind" in values:
        module_of(str(values["kind"]))
    return values


def kind_of(values: Any) -> str:
    """Kind of a generator configuration, before or after it is parsed."""
    return str(values.get("kind", "ddpm") if isinstance(values, Mapping) else getattr(values, "kind", "ddpm"))


ADDED = "added"
"""Tag of the model of all kinds that have no model of their own."""

_Models = (
    Annotated[DDPMConfig, Tag("ddpm")]
    | Annotated[LatentConfig, Tag("latent")]
    | Annotated[LoRAConfig, Tag("lora")]
    | Annotated[BetaVAEConfig, Tag("beta-vae")]
    | Annotated[DCGANConfig, Tag("dcgan")]
    | Annotated[AddedConfig, Tag(ADDED)]
)
_TAGS = {tag.tag for model in get_args(_Models) for tag in get_args(model) if isinstance(tag, Tag)}


def _tag_of(values: Any) -> str:
    kind = kind_of(values)
    return kind if kind in _TAGS else ADDED


GeneratorConfig = Annotated[_Models, Discriminator(_tag_of), BeforeValidator(_known_kind)]
"""The configuration of a generator of any kind; `ddpm` without `kind`."""
