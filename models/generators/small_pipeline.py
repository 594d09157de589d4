"""A Stable Diffusion pipeline for small images: the original classes at small widths, with random weights."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from royalty.models.generators.libraries import AutoencoderKL, PNDMScheduler, UNet2DConditionModel

TOKENS = 16
"""Tokens of a prompt: one for each letter, plus start and end."""

HEAD = 8
"""Groups of the group norms, and channels of an attention head."""

LETTERS = [letter + end for end in ("</w>", "") for letter in string.ascii_lowercase]
VOCABULARY = {token: place for place, token in enumerate(["<|startoftext|>", "<|endoftext|>", *LETTERS])}


@dataclass(frozen=True)
class Widths:
    """The size of a pipeline.

    Attributes:
        autoencoder: channels of its levels, multiples of 8; each level after the first halves the image.
        denoiser: channels of the levels of the U-Net on latents; all levels except the last attend to the text.
        layers: residual blocks per level of the U-Net.
        text: features of a token.
    """

    autoencoder: tuple[int, ...] = (16, 32)
    denoiser: tuple[int, ...] = (32, 64)
    layers: int = 1
    text: int = 32

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Widths:
        """Read the widths from the settings of a base."""
        autoencoder, denoiser = tuple(settings["autoencoder"]), tuple(settings["denoiser"])
        return cls(autoencoder, denoiser, settings["layers"], settings["text"])


def build_autoencoder(widths: tuple[int, ...], side: int) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=widths,
        latent_channels=4,
        norm_num_groups=HEAD,
        sample_size=side,
    )


def build_denoiser(widths: Widths, side: int) -> UNet2DConditionModel:
    attending = len(widths.denoiser) - 1
    return UNet2DConditionModel(
        sample_size=side // 2 ** (len(widths.autoencoder) - 1),
        down_block_types=("CrossAttnDownBlock2D",) * attending + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * attending,
        block_out_channels=widths.denoiser,
        layers_per_block=widths.layers,
        norm_num_groups=HEAD,
        cross_attention_dim=widths.text,
        attention_head_dim=HEAD,
    )


def build_text_encoder(features: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=features,
            intermediate_size=2 * features,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=TOKENS,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def build_pipeline(widths: Widths, *, side: int, seed: int) -> StableDiffusionPipeline:
    """An untrained pipeline for images of `side` by `side` pixels.

    Args:
        seed: of its weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StableDiffusionPipeline(
            vae=build_autoencoder(widths.autoencoder, side),
            text_encoder=build_text_encoder(widths.text),
            tokenizer=CLIPTokenizer(vocab=VOCABULARY, merges=[], model_max_length=TOKENS),
            unet=build_denoiser(widths, side),
            # The schedule of Stable Diffusion 1.5.
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


def save_small_pipeline(folder: Path, *, side: int, seed: int) -> None:
    """Save an untrained pipeline in the format of diffusers."""
    build_pipeline(Widths(), side=side, seed=seed).save_pretrained(folder)
