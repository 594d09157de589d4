"""Autoencoders of diffusers' own classes, small and with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, VQModel

FACTOR, CHANNELS = 2, 3


def save_autoencoder(folder: Path, kind: str, *, seed: int = 0) -> Path:
    """Write one as diffusers does: images of even sides, latents of half of them."""
    levels = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "latent_channels": CHANNELS,
        "norm_num_groups": 4,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = VQModel(**levels, num_vq_embeddings=32) if kind == "VQModel" else AutoencoderKL(**levels)
    net.save_pretrained(folder)
    return folder
