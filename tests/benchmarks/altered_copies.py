"""Which altered copies of training images the memorization test finds, by features, by pixels, and by both.

python -m tests.benchmarks.altered_copies --images test.parquet [--items 600] [--copies 100] [--seed 7]

The copies are mirrored, moved by three pixels, or blurred; controls are images that were held out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from royalty.models.base.resolution import resolution_of
from royalty.models.data.labelled import read_items, typical_side
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.judging.memorization import memorization_test, views_of

MOVED, BLUR = 3, 1.2
"""Pixels by which copies are moved, and the standard deviation of the blur."""

VIEWS = {"features": [0], "pixels": [1], "both": [0, 1]}


def altered(images: np.ndarray) -> dict[str, np.ndarray]:
    side = images.shape[-1]
    padded = np.pad(images, ((0, 0), (0, 0), (MOVED, 0), (MOVED, 0)), mode="edge")
    return {
        "mirrored": images[..., ::-1].copy(),
        "moved": padded[..., :side, :side].copy(),
        "blurred": gaussian_filter(images.astype(np.float64), (0, 0, BLUR, BLUR)).round().astype(np.uint8),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--copies", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    images = read_items(chosen.images, size=typical_side(chosen.images) or 32).images
    assert images is not None
    images = images[np.random.default_rng(chosen.seed).permutation(len(images))]
    train, unseen, controls = np.split(images[: 2 * chosen.items + chosen.copies], [chosen.items, 2 * chosen.items])
    encoder = EfficientNetLite0(size=resolution_of(images.shape[-1]))
    known, held_out = (encoder.features(train), train), (encoder.features(unseen), unseen)
    print(f"{'images':<12}{'by':<12}{'flagged':>8}{'p <= 5%':>9}")
    for name, made in (altered(train[: chosen.copies]) | {"held out": controls}).items():
        sides = views_of(known, (encoder.features(made), made), held_out)
        for by, places in VIEWS.items():
            found = memorization_test(*([side[place] for place in places] for side in sides))
            print(f"{name:<12}{by:<12}{found.flagged.mean():>8.0%}{(found.p_values <= 0.05).mean():>9.0%}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
