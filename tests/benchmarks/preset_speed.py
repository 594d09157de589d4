"""Seconds and memory of the nets of the presets for a GPU, whole and pruned, and the hours that a run of them takes.

    python -m tests.benchmarks.preset_speed

Nets, autoencoder and pipeline have the published sizes and random weights, and images are noise, which costs as much. A
training step is the median of so many; an image is that of a few sampling steps, carried on to all of them. Hours are
those times what the preset asks for; reading, pruning and the property are left out. Needs neither Prefect nor MLflow.
"""

from __future__ import annotations

import argparse
import string
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel, VQModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from royalty.flows.configuration import load_config
from royalty.models.data.items import Shown
from royalty.models.generators.generator import Generator, MemoryRowCache, Resources
from royalty.models.generators.lora import OUTLINED_UNET
from royalty.models.generators.registry import build_generator
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.stages.device import best_device

SAMPLED = {"cifar20": 1024, "celeba-hq": 64, "artbench": 50}
"""Presets, and images that are sampled of each at once."""

FEW = 2, 10
"""Sampling steps that are measured."""

PNDM = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "steps_offset": 1,
}
"""Settings of Stable Diffusion 1."""


def vq_f4(folder: Path) -> None:
    """An autoencoder of the size of VQ-f4: a quarter of the side, three channels, 8,192 codes."""
    VQModel(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(128, 256, 512),
        layers_per_block=2,
        latent_channels=3,
        num_vq_embeddings=8192,
    ).save_pretrained(folder)


def stable_diffusion(folder: Path) -> None:
    """A pipeline of the size of Stable Diffusion 1, whose tokenizer knows letters alone."""
    letters = [letter + end for end in ("</w>", "") for letter in string.ascii_lowercase]
    vocabulary = {token: place for place, token in enumerate(["<|startoftext|>", "<|endoftext|>", *letters])}
    text = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77),
        unet=UNet2DConditionModel(**OUTLINED_UNET, sample_size=32),
        scheduler=PNDMScheduler(**PNDM),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


BASES: dict[str, Callable[[Path], None]] = {"celeba-hq": vq_f4, "artbench": stable_diffusion}


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and gigabytes of GPU memory at most."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    work()
    if not torch.cuda.is_available():
        return time.perf_counter() - began, 0.0
    torch.cuda.synchronize()
    return time.perf_counter() - began, torch.cuda.max_memory_allocated() / 1e9


def step_of(model: Generator, shown: Shown, config: CreditConfig, steps: int) -> tuple[float, float]:
    """Median seconds of a training step, and gigabytes."""
    marks: list[float] = []

    def mark(_: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        marks.append(time.perf_counter())

    training = config.generator.training() | {"steps": steps}
    _, memory = measured(lambda: model.fit(**vars(shown), **training, seed=0, progress=mark))
    return float(np.median(np.diff(marks)[1:])), memory


def image_of(model: Generator, images: int, config: CreditConfig) -> float:
    """Seconds of an image, by few and by more steps: what the difference leaves is decoding, and counts once."""
    steps, scheduler = config.sampling.steps, config.sampling.scheduler
    sample = partial(model.sample, images, seed=0, scheduler=scheduler)
    sample(steps=FEW[0])  # the first pass chooses kernels
    few, more = (measured(partial(sample, steps=n))[0] for n in FEW)
    return (few + (more - few) / (FEW[1] - FEW[0]) * (steps - FEW[0])) / images


@dataclass(frozen=True)
class Taken:
    """Seconds of a training step and of an image, by whole and pruned net; of a coalition, and of a run."""

    each: dict[str, tuple[float, float]]
    coalition: float
    run: float


def judge(name: str, steps: int, folder: Path, small: bool = False) -> Taken:
    """Measure a preset, or with `small` one of the same kind with a tiny net on 8 by 8 pixels."""
    config = load_config(file=None, preset=name, name=None, data=folder)
    if small:
        tiny = {"block_channels": (8, 8), "groups": 4, "batch_size": 4}
        config = config.model_copy(
            update={
                "generator": config.generator.model_copy(update=tiny),
                "data": config.data.model_copy(update={"size": 8}),
            }
        )
    generator, coalitions = config.generator, config.coalitions
    if name in BASES:
        BASES[name](folder)
    side = config.data.model_dump()["size"]
    shown = Shown(np.random.default_rng(0).integers(0, 256, (generator.batch_size, 3, side, side), dtype=np.uint8))
    resources = Resources(weights=lambda _: folder, rows=MemoryRowCache(), device=best_device())
    model = build_generator(generator.kind, shown, generator.architecture(), seed=0, resources=resources)
    each, images = {}, config.sampling.images
    for which in ("whole", "pruned"):
        if which == "pruned":
            model.prune(config.pruning.ratio, shown.images, seed=0)
        step, memory = step_of(model, shown, config, steps)
        image = image_of(model, 2 if small else SAMPLED[name], config)
        each[which] = step, image
        size = model.size().parameters / 1e6
        print(f"{name:10} {which:7} {size:8.2f} {step * 1000:9.1f} {image * 1000:9.1f} {memory:7.1f}", flush=True)
    (step, image), (own, picture) = each["whole"], each["pruned"]
    one = own * coalitions.finetune_steps + picture * images
    once = step * generator.steps + image * images + own * config.pruning.recovery_steps + 2 * picture * images
    hours = (once + coalitions.count * one) / 3600
    print(f"{name:10} {one / 60:.1f} minutes a coalition; {hours:.1f} hours for {coalitions.count}", flush=True)
    return Taken(each, one, hours * 3600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=list(SAMPLED))
    parser.add_argument("--steps", type=int, default=12)
    asked = parser.parse_args()
    print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU", "torch", torch.__version__)
    print(f"{'preset':10} {'net':7} {'M params':>8} {'ms a step':>9} {'ms/image':>9} {'GB':>7}", flush=True)
    for name in asked.presets:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            judge(name, asked.steps, Path(folder))
        print(f"{name:10} measured in {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
