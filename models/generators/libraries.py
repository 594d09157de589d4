"""What this package takes of diffusers and torch-pruning, imported in three fifths of the time.

Both look for the libraries that they can work with. Where those of the hub's models are installed, diffusers imports
transformers, PEFT and bitsandbytes, and with it the compiler of torch: seconds in which a worker does nothing, for
adapters and quantized weights that no U-Net here has.
"""

from __future__ import annotations

from models.alone import without

with without("bitsandbytes", "peft", "scipy", "timm", "transformers"):
    import torch_pruning
    from diffusers.models.attention_processor import Attention
    from diffusers.models.downsampling import Downsample2D
    from diffusers.models.unets.unet_2d import UNet2DModel
    from diffusers.models.upsampling import Upsample2D
    from diffusers.pipelines.ddpm.pipeline_ddpm import DDPMPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_pndm import PNDMScheduler
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

__all__ = [
    "Attention",
    "DDIMScheduler",
    "DDPMPipeline",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "Downsample2D",
    "PNDMScheduler",
    "UNet2DModel",
    "UniPCMultistepScheduler",
    "Upsample2D",
    "torch_pruning",
]
