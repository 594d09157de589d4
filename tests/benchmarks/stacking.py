"""What training coalitions side by side gains, by the size of their net.

    python -m tests.benchmarks.stacking [--steps 6] [--rounds 3]

Processor seconds of one thread for a step of one model, alone and of eight in a stack; least of the rounds, which take
turns. A stack saves what a step does outside its arithmetic, so it gains at most what is left to the peak: the speed at
which this core multiplies float32 matrices of order 1,024.
"""

from __future__ import annotations

import argparse
import copy
from functools import partial

import numpy as np
import torch

from royalty.models.data.items import Shown
from royalty.models.generators.ddpm import DDPM, Architecture
from royalty.models.generators.pruning import prune, size_of
from royalty.models.generators.stacked import LANES, fit_stacked
from tests.benchmarks.coalition_speed import FLOPS, peak_flops, seconds

PRUNED = 0.5
NETS = {
    "digits": (Architecture(8, 1, (16, 32), 1), 128),
    "letters": (Architecture(16, 1, (16, 32), 1, classes=12), 48),
    "emoji, a narrow net": (Architecture(16, 12, (32, 64, 96), 1, groups=8, classes=12), 32),
    "emoji": (Architecture(16, 12, (64, 128, 128), 1, groups=8, classes=82), 32),
}
"""Nets of the presets and the batches of their coalitions; those of emoji without attention, on patches of 2 by 2."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| Net, pruned | Parameters | Batch | Alone | In a stack | Gain | Of the peak, alone | In a stack |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, (architecture, batch) in NETS.items():
        start = DDPM.build(architecture, seed=0)
        prune(start.unet, PRUNED)
        draws = np.random.default_rng(0)
        shape = (100, architecture.channels, architecture.image_size, architecture.image_size)
        images = draws.integers(0, 256, shape, dtype=np.uint8)
        labels = draws.integers(0, architecture.classes, 100) if architecture.classes else None
        training = {"steps": options.steps, "batch_size": batch, "learning_rate": 1e-3, "ema_decay": 0.99}
        models, shown = [copy.deepcopy(start) for _ in range(LANES)], [Shown(images, labels)] * LANES
        ways = (
            partial(copy.deepcopy(start).fit, images, labels=labels, seed=0, **training),
            partial(fit_stacked, models, shown, seeds=range(LANES), **training),
        )
        least, peak = [np.inf, np.inf], 0.0
        for _ in range(options.rounds + 1):  # the first round prepares kernels too
            taken = [seconds(way) for way in ways]
            least, peak = [min(pair) for pair in zip(least, taken, strict=True)], max(peak, peak_flops())
        size = size_of(start.unet)
        alone, stacked = least[0] / options.steps, least[1] / options.steps / LANES
        shares = [FLOPS * size.multiply_adds * batch / each / peak for each in (alone, stacked)]
        print(
            f"| {name} | {size.parameters / 1e6:.2f} million | {batch} | {1e3 * alone:.1f} ms | {1e3 * stacked:.1f} ms "
            f"| {alone / stacked:.2f} | {shares[0]:.0%} | {shares[1]:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
