"""Where models of this process train and sample. Imports torch alone, for workers that have no diffusion model."""

from __future__ import annotations

import torch


def best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
