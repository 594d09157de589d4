"""Imports from diffusers and torch-pruning, without the optional libraries that no generator here uses.

Both import every optional library that is installed, which costs a worker seconds at start. PEFT and transformers stay
visible, because diffusers needs them to add a LoRA to a U-Net.
"""

from __future__ import annotations

from royalty.models.base.optional import hide_packages

with hide_packages("bitsandbytes", "scipy", "sklearn", "timm"):
    import torch_pruning
    from diffusers.models.activations import GEGLU
    from diffusers.models.attention_processor import Attention
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.vq_model import VQModel
    from diffusers.models.downsampling import Downsample2D
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.models.upsampling import Upsample2D
    from diffusers.optimization import get_cosine_schedule_with_warmup
    from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_pndm import PNDMScheduler
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

__all__ = [
    "GEGLU",
    "Attention",
    "AutoencoderKL",
    "DDIMScheduler",
    "DDPMPipeline",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "Downsample2D",
    "PNDMScheduler",
    "UNet2DConditionModel",
    "UNet2DModel",
    "UniPCMultistepScheduler",
    "Upsample2D",
    "VQModel",
    "get_cosine_schedule_with_warmup",
    "torch_pruning",
]
