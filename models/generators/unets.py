"""The denoising U-Nets of diffusers, from a few numbers; what they learn to predict, and from what noise."""

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
    # Velocity (Salimans & Ho 2022) on a cosine schedule learns faster on small images than noise on the linear one.
    "velocity": {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"},
    # As Ho et al. (2020) have it.
    "noise": {
        "beta_schedule": "linear",
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "prediction_type": "epsilon",
    },
}


@dataclass(frozen=True)
class Architecture:
    """A denoising U-Net of square images, one level for each entry of `block_channels`, and how it learns.

    Attributes:
        attention: levels with self-attention, the one of whole images being 0; if there is any, the middle has it too.
        head_channels: width of a head of attention; None: one head.
        groups: of the group norms; widths are multiples of it.
        objective: what is predicted, with the schedule of noise that goes with it.
        classes: that images are made of, by their label; 0: unconditional.
        guidance: weight of what the class changes (Ho & Salimans 2022); 1: none beyond the condition.
        flip: whether mirrored images are as good as the images.
        mixed_precision, torch_compile: see `royalty.models.generators.acceleration`.
        gradient_checkpointing: whether what lies between blocks is computed again rather than kept.
        gradient_accumulation: parts of a batch, one after the other, whose gradients are added.
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

    @property
    def plain(self) -> bool:
        """Whether nets of this shape can be trained in a stack."""
        return not (self.attention or self.classes or self.flip or self.torch_compile or self.gradient_checkpointing)


def build_unet(architecture: Architecture) -> UNet2DModel:
    """With random weights, from torch's global generator; one class more than there are stands for no class."""
    levels = range(len(architecture.block_channels))
    with_attention = [level in architecture.attention for level in levels]
    return UNet2DModel(
        sample_size=architecture.image_size,
        in_channels=architecture.channels,
        out_channels=architecture.channels,
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
    """What the net should predict of noisy images."""
    if scheduler.config.prediction_type == "epsilon":
        return noise
    velocity: Tensor = scheduler.get_velocity(clean, noise, times)
    return velocity


def at_random_levels(
    scheduler: DDIMScheduler, clean: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Images with noise of a level each, those levels, and what to predict of them."""
    noise = torch.randn(clean.shape, generator=generator).to(clean.device)
    times = torch.randint(DIFFUSION_STEPS, (len(clean),), generator=generator).to(clean.device)
    return scheduler.add_noise(clean, noise, times), times, target_of(scheduler, clean, noise, times)
