"""A Stable Diffusion pipeline of the real classes, small enough for tests and small images, with random weights."""

from __future__ import annotations

import string
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TOKENS = 16
"""Of a prompt: letters, of which each is one, and its two ends."""

FEATURES = 32


def save_small_pipeline(folder: Path, *, side: int, seed: int) -> None:
    """Write the pipeline as diffusers writes one, for images of `side` by `side` pixels, a multiple of 4.

    Args:
        seed: of its weights.
    """
    letters = [letter + end for end in ("</w>", "") for letter in string.ascii_lowercase]
    vocabulary = {token: place for place, token in enumerate(["<|startoftext|>", "<|endoftext|>", *letters])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=TOKENS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = StableDiffusionPipeline(
            vae=AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                block_out_channels=(16, 32),
                latent_channels=4,
                norm_num_groups=8,
                sample_size=side,
            ),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=len(vocabulary),
                    hidden_size=FEATURES,
                    intermediate_size=2 * FEATURES,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    max_position_embeddings=TOKENS,
                    bos_token_id=0,
                    eos_token_id=1,
                    pad_token_id=1,
                )
            ),
            tokenizer=tokenizer,
            unet=UNet2DConditionModel(
                sample_size=side // 2,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                block_out_channels=(32, 64),
                layers_per_block=1,
                norm_num_groups=8,
                cross_attention_dim=FEATURES,
                attention_head_dim=8,
            ),
            # As Stable Diffusion 1.5 has it.
            scheduler=PNDMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                skip_prk_steps=True,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.save_pretrained(folder)
