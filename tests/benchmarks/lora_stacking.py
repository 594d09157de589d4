"""What training LoRAs of several coalitions side by side gains, by their number and batch size.

    python -m tests.benchmarks.lora_stacking [--base small|tiny] [--batches 1 4] [--steps 20] [--rounds 5]

Processor seconds of one thread for a step of one model, trained alone and side by side; least of the rounds, in which
all ways take turns. Alone, `LoRA.fit` trains the same number of models one after the other.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from royalty.models.data.items import Shown
from royalty.models.generators.generator import Resources, fit_one_by_one
from royalty.models.generators.lora import LoRA
from royalty.models.generators.small_pipeline import Widths, build_pipeline
from royalty.models.generators.stacked_lora import fit_side_by_side, width_of
from tests.benchmarks.coalition_speed import seconds
from tests.benchmarks.lora_speed import ATTENTION

COUNTS = (1, 2, 4, 8)
BASES = {
    "small": (Widths(), 8, 4, ATTENTION),
    "tiny": (Widths(autoencoder=(16, 16, 32), denoiser=(48, 64)), 32, 16, [*ATTENTION, "conv1", "conv2"]),
}
"""Widths, side of the images in pixels, rank and targets: the small pipeline, and that of the preset `tiny-lora`."""


def fit_in_stacks(models: list[LoRA], sets: list[Shown], seeds: list[int], **training: Any) -> None:
    first = models[0]
    weights = [model.weights for model in models]
    fit_side_by_side(first.pipeline, first.adaptation, weights, sets, first.resources.rows, seeds=seeds, **training)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", choices=BASES, default="small")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    widths, side, rank, targets = BASES[options.base]
    images = np.random.default_rng(0).integers(0, 256, (32, 1, side, side), dtype=np.uint8)
    shown = Shown(images, texts=["a one", "a two"] * 16)
    print("| Batch | Models | One by one, ms a step | Side by side | Ratio | By default |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as place:
        build_pipeline(widths, side=side, seed=0).save_pretrained(place)
        start = LoRA.for_images(
            shown,
            base=options.base,
            prompt=None,
            seed=0,
            resources=Resources(weights=lambda _name: Path(place)),
            rank=rank,
            targets=targets,
            guidance=2.0,
            weight_decay=1e-6,
            warmup_steps=0,
            mixed_precision=False,
            gradient_checkpointing=False,
        )
        for batch in options.batches:
            training = {"steps": options.steps, "batch_size": batch, "learning_rate": 1e-3, "ema_decay": 0.99}
            ways = {}
            for count in COUNTS:
                models, sets, seeds = [start.copy() for _ in range(count)], [shown] * count, list(range(count))
                ways[count, "alone"] = partial(fit_one_by_one, models, sets, seeds=seeds, **training)
                ways[count, "stacked"] = partial(fit_in_stacks, models, sets, seeds=seeds, **training)
            least = dict.fromkeys(ways, np.inf)
            for _ in range(options.rounds + 1):  # the first round prepares kernels too
                least = {key: min(least[key], seconds(way)) for key, way in ways.items()}
            for count in COUNTS:
                alone, stacked = (1e3 * least[count, way] / options.steps / count for way in ("alone", "stacked"))
                width = width_of(start.adaptation, batch, start.pipeline.device)
                print(
                    f"| {batch} | {count} | {alone:.1f} | {stacked:.1f} | {alone / stacked:.2f} | {width} at a time |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
