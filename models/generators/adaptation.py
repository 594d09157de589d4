"""The settings that a LoRA is trained and sampled with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Adaptation:
    """Base and settings of a LoRA, apart from the length of its training.

    Attributes:
        base, base_digest: name of the pipeline, and the digest of its files.
        shape: of images: channels, height, width.
        rank: of every layer's update.
        targets: suffixes of the names of the layers that are adapted.
        prompt: the caption of every image; None: each image has its own.
        prompts: that images are sampled with, in turn.
        guidance: scale of classifier-free guidance in sampling; 1 disables it.
    """

    base: str
    base_digest: str
    shape: tuple[int, int, int]
    rank: int
    targets: tuple[str, ...]
    prompt: str | None
    prompts: tuple[str, ...]
    guidance: float
    weight_decay: float
    warmup_steps: int
    mixed_precision: bool
    gradient_checkpointing: bool
    gradient_accumulation: int = 1
    torch_compile: bool = False
