"""The denoising U-Nets of diffusers: architecture, noise schedule and prediction target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from royalty.models.generators.libraries import DDIMScheduler, UNet2DModel

DIFFUSION_STEPS = 1000
GROUPS = 4

Objective = Literal["velocity", "noise"]

SCHEDULES: dict[Objective, dict[str, Any]] = {
    # On small images, velocity (Salimans & Ho 2022) on a cosine schedule trains faster than noise on a linear one.
    "velocity": {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"},
    # The schedule of Ho et al. (2020).
    "noise": {
        "beta_schedule": "linear",
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "prediction_type": "epsilon",
    },
}


@dataclass(frozen=True)
class Architecture:
    """A denoising U-Net of square images with one level per entry of `block_channels`, and its training options.

    Attributes:
        attention: levels with self-attention, 0 being full resolution; if there are any, the middle block has it too.
        head_channels: width of an attention head; None: a single head.
        groups: of the group norms; widths are multiples of it.
        objective: the prediction target, which also selects the noise schedule.
        classes: number of classes of a conditional model; 0: unconditional.
        guidance: scale of classifier-free guidance (Ho & Salimans 2022); 1 disables it.
        flip: whether training images are mirrored at random.
        mixed_precision, torch_compile: see `royalty.models.generators.acceleration`.
        gradient_checkpointing: whether activations between blocks are recomputed instead of stored.
        gradient_accumulation: number of parts of a batch that are processed in turn, with their gradients summed.
        patch: side of the squares of pixels that the net sees as one position, with a channel for each pixel of the
            square.
    """

    image_size: int
    channels: int
    block_channels: tuple[int, ...]
    layers_per_block: int
    attention: tuple[int, ...] = ()
    head_channels: int | None = None
    groups: int = GROUPS
    objective: Objective = "velocity"
    classes: int = 0
    guidance: float = 1.0
    flip: bool = False
    mixed_precision: bool = False
    torch_compile: bool = False
    gradient_checkpointing: bool = False
    gradient_accumulation: int = 1
    patch: int = 1

    @property
    def net_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the input of the net."""
        side = self.image_size // self.patch
        return self.channels * self.patch**2, side, side

    @property
    def plain(self) -> bool:
        """Whether nets of this architecture can be trained in a stack."""
        trained_apart = self.attention or self.flip or self.torch_compile or self.gradient_checkpointing
        return self.patch == 1 and not trained_apart


def build_unet(architecture: Architecture) -> UNet2DModel:
    """A net with random weights from torch's global generator; an extra class stands for a hidden class."""
    channels, side, _ = architecture.net_shape
    levels = range(len(architecture.block_channels))
    with_attention = [level in architecture.attention for level in levels]
    return UNet2DModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=architecture.block_channels,
        layers_per_block=architecture.layers_per_block,
        down_block_types=tuple("AttnDownBlock2D" if attends else "DownBlock2D" for attends in with_attention),
        up_block_types=tuple("AttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(with_attention)),
        attention_head_dim=architecture.head_channels,
        norm_num_groups=architecture.groups,
        add_attention=any(with_attention),
        num_class_embeds=architecture.classes + 1 if architecture.classes else None,
    )


def noise_schedule(objective: Objective) -> DDIMScheduler:
    return DDIMScheduler(num_train_timesteps=DIFFUSION_STEPS, timestep_spacing="trailing", **SCHEDULES[objective])


def target_of(scheduler: DDIMScheduler, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """The prediction target for noisy images: noise or velocity."""
    if scheduler.config.prediction_type == "epsilon":
        return noise
    velocity: Tensor = scheduler.get_velocity(clean, noise, times)
    return velocity


def at_random_levels(
    scheduler: DDIMScheduler, clean: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Images with noise of random levels, those levels, and the prediction targets."""
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    times = torch.randint(DIFFUSION_STEPS, (len(clean),), generator=generator).to(clean.device)
    return scheduler.add_noise(clean, noise, times), times, target_of(scheduler, clean, noise, times)
