"""Steps a second of a coalition's LoRA on latents and texts that were kept, beside a loop that encodes each batch anew.

python -m tests.benchmarks.lora_speed [--base tiny|stable-diffusion] [--steps 60] [--rounds 3] [--batch 32]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from royalty.models.data.items import Shown
from royalty.models.data.mnist import credited_digits
from royalty.models.generators.generator import Resources, scaled
from royalty.models.generators.libraries import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from royalty.models.generators.lora import OUTLINED_UNET, LoRA
from royalty.models.generators.small_pipeline import VOCABULARY, Widths, build_pipeline
from royalty.tasks.stages.device import best_device

TARGET = 3.0
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]

TITLE = """\
LoRA of rank {rank} on {base}, on {device}: steps a second of {steps} steps of {batch} images, {parameters:,} parameters
trained. Least time of {rounds} rounds in turn; of the processor on a CPU, which is blind to other programs.

kept: `LoRA.fit` on a coalition's images, of which latents and texts were kept when the base model was trained.
encoded: the same net, optimizer and precision, bfloat16 on a GPU; every step encodes its images and captions.
plain: the same loop in float32, as one is written first.
"""


@dataclass(frozen=True)
class Case:
    """A base, and what is trained on it."""

    base: str
    side: int
    rank: int
    guidance: float = 2.0


CASES = {
    "tiny": Case("the pipeline of the preset tiny-lora", 32, 16),
    "eighth": Case("Stable Diffusion 1.5 with an eighth of its channels, images of 64 by 64", 64, 32),
    "stable-diffusion": Case("a pipeline of the size of Stable Diffusion 1.5, random weights", 512, 256),
}


def build(name: str, side: int) -> StableDiffusionPipeline:
    """The pipeline of a case, of random weights, which take as long as trained ones."""
    widths = Widths(autoencoder=(16, 16, 32), denoiser=(48, 64), layers=1, text=32)
    pipeline = build_pipeline(widths, side=side, seed=0)
    if name == "tiny":
        return pipeline
    part = 8 if name == "eighth" else 1
    text = CLIPTextConfig(
        hidden_size=768 // part,
        intermediate_size=3072 // part,
        num_hidden_layers=12,
        num_attention_heads=12 if part == 1 else 3,
        bos_token_id=0,
        eos_token_id=1,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=tuple(width // part for width in (128, 256, 512, 512)),
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=32 // part,
        sample_size=side,
    )
    widths = tuple(width // part for width in OUTLINED_UNET["block_out_channels"])
    own = {"block_out_channels": widths, "norm_num_groups": 32 // part, "cross_attention_dim": 768 // part}
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(vocab=VOCABULARY, merges=[], model_max_length=77),
        unet=UNet2DConditionModel(**{**OUTLINED_UNET, **own, "sample_size": side // 8}),
        scheduler=PNDMScheduler.from_config(pipeline.scheduler.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def images_of(side: int) -> Shown:
    """A coalition's images: two of five contributors' captioned digits."""
    splits = credited_digits(chosen=[5, 6], contributors_a_digit=1, validation=0.1, classifier=0.25, seed=0)
    shown = splits.train.shown()
    times = side // shown.images.shape[2]
    images = shown.images[: len(shown.images) // times].repeat(times, 2).repeat(times, 3)
    return Shown(images, texts=list(shown.texts or ())[: len(images)])


def encode_each_step(
    model: LoRA, shown: Shown, mixed: bool, *, steps: int, batch_size: int, learning_rate: float
) -> list[float]:
    """The loop of a training script: images and captions of every batch go through their encoders."""
    pipeline = model.pipeline
    device, texts = pipeline.device, np.array(shown.texts)
    parameters = model.mounted()
    pipeline.unet.eval()
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=1e-6)
    generator, losses = np.random.default_rng(0), []
    for _ in range(steps):
        places = generator.integers(len(shown.images), size=batch_size)
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            with torch.no_grad():
                pixels = scaled(shown.images[places], device).expand(-1, pipeline.vae.config.in_channels, -1, -1)
                clean = pipeline.vae.encode(pixels).latent_dist.sample().float() * pipeline.vae.config.scaling_factor
                tokens = pipeline.tokenizer(
                    texts[places].tolist(),
                    padding="max_length",
                    max_length=pipeline.tokenizer.model_max_length,
                    return_tensors="pt",
                )
                told = pipeline.text_encoder(tokens["input_ids"].to(device))[0]
            noise = torch.randn_like(clean)
            times = torch.randint(pipeline.scheduler.config.num_train_timesteps, (batch_size,), device=device)
            predicted = pipeline.unet(pipeline.scheduler.add_noise(clean, noise, times), times, told).sample
        optimizer.zero_grad()
        loss = (predicted.float() - noise).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def speeds(base: str, steps: int, rounds: int, batch: int) -> dict[str, float]:
    """Print the least seconds of each way to train; returns them by way."""
    cuda = best_device() == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    case, shown = CASES[base], images_of(CASES[base].side)
    settings: dict[str, Any] = {
        "base": base,
        "prompt": None,
        "rank": case.rank,
        "targets": ATTENTION,
        "guidance": case.guidance,
        "weight_decay": 1e-6,
        "warmup_steps": 0,
        "mixed_precision": True,
        "gradient_checkpointing": False,
    }
    with tempfile.TemporaryDirectory() as place:
        build(base, case.side).save_pretrained(place)
        resources = Resources(weights=lambda _name: Path(place), device=best_device())
        model = LoRA.for_images(shown, seed=0, resources=resources, **settings)
        training: dict[str, Any] = {"steps": steps, "batch_size": batch, "learning_rate": 1e-4}

        def kept(**training: Any) -> None:
            model.copy().fit(shown.images, texts=shown.texts, **training, ema_decay=0.9, seed=0)

        ways: dict[str, Callable[..., object]] = {"kept": kept}
        if cuda:
            ways["encoded"] = partial(encode_each_step, model, shown, True)
        ways["plain"] = partial(encode_each_step, model, shown, False)
        for way in ways.values():
            way(**training | {"steps": 1})
        took = dict.fromkeys(ways, np.inf)
        for _ in range(rounds):
            for name, way in ways.items():
                began = clock()
                way(**training)
                took[name] = min(took[name], clock() - began)
    print(
        TITLE.format(
            rank=case.rank,
            base=case.base,
            device=best_device(),
            steps=steps,
            batch=batch,
            parameters=model.size().parameters,
            rounds=rounds,
        )
    )
    for name, seconds in took.items():
        print(f"{name:10} {steps / seconds:8.2f} steps/s   kept is {seconds / took['kept']:5.2f} times as fast")
    print(f"\nOf the plain loop {TARGET:g} times are asked for.")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base", choices=sorted(CASES), default="tiny")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    speeds(given.base, given.steps, given.rounds, given.batch)


if __name__ == "__main__":
    main()
