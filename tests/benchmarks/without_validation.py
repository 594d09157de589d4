"""The detector without validation: AUROC of planted corruptions beside methods that need none, and realised false
discoveries, on pixels of scikit-learn's digits.

python -m tests.benchmarks.without_validation [--draws 3] [--seeds 10] [--first 0] [--trim 0.2]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn.datasets import load_digits

from royalty.models.data.corruptions import CORRUPTIONS, Corrupted
from royalty.models.judging.detection import detection
from royalty.models.valuation.detector import TRIM, detect_items
from royalty.models.valuation.item_baselines import el2n_values
from royalty.models.valuation.training_baselines import confident_learning_values, out_of_bag_values

ITEMS = 1000
PLANTED: dict[str, Callable[..., Corrupted]] = {
    "10% wrong labels": partial(CORRUPTIONS["flipped-labels"], share=0.1),
    "25% wrong labels": partial(CORRUPTIONS["flipped-labels"], share=0.25),
    "10% noise": partial(CORRUPTIONS["noise"], share=0.1),
    "25% noise": partial(CORRUPTIONS["noise"], share=0.25),
    "5% backdoor `blend`": partial(CORRUPTIONS["backdoor-blend"], share=0.05, target_label=0),
}
FOUND = {"no fault": 0.0, "5% wrong labels": 0.05, "10% wrong labels": 0.1, "25% wrong labels": 0.25}
"""Sets by which false discoveries are counted."""
FDR = 0.1


def digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images, `(items, 1, 8, 8)`, and labels."""
    pixels, labels = load_digits(return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(labels))[:ITEMS]
    images = np.round(pixels[rows] * (255 / 16)).astype(np.uint8)
    return images.reshape(-1, 1, 8, 8), labels[rows]


def features_of(images: np.ndarray) -> np.ndarray:
    """Pixels, each image of length one as in `royalty detect`."""
    pixels = images.reshape(len(images), -1).astype(np.float32)
    return pixels / np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("draws", 3), ("seeds", 10), ("first", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--trim", type=float, default=TRIM)
    chosen = parser.parse_args()
    others = {
        "data-oob": out_of_bag_values,
        "confident-learning": confident_learning_values,
        "el2n": el2n_values,
    }
    print(f"AUROC, mean (least) of {chosen.draws} draws\n")
    print(f"{'':<22}" + "".join(f"{name:>20}" for name in ("detector", *others)))
    for case, plant in PLANTED.items():
        rates: list[list[float]] = []
        for seed in range(chosen.first, chosen.first + chosen.draws):
            planted = plant(*digits(seed), seed=seed)
            side = features_of(planted.images), planted.labels
            values = [detect_items(*side, trim=chosen.trim, seed=seed).scores]
            values += [method(*side, *side, seed=seed).values for method in others.values()]
            rates.append([detection(value, planted.planted).auroc for value in values])
        cells = zip(np.mean(rates, axis=0), np.min(rates, axis=0), strict=True)
        print(f"{case:<22}" + "".join(f"{f'{mean:.3f} ({least:.3f})':>20}" for mean, least in cells), flush=True)
    print(f"\nFalse discoveries at a rate of {FDR:g}, means of {chosen.seeds} draws\n")
    print(f"{'':<22}{'flagged':>10}{'clean of them':>16}{'standard error':>16}{'faults found':>14}")
    for case, share in FOUND.items():
        counts = []
        for seed in range(chosen.first, chosen.first + chosen.seeds):
            images, labels = digits(seed)
            wrong = np.zeros(len(labels), dtype=bool)
            if share:
                planted = CORRUPTIONS["flipped-labels"](images, labels, share=share, seed=seed)
                images, labels, wrong = planted.images, planted.labels, planted.planted
            flagged = detect_items(features_of(images), labels, trim=chosen.trim, fdr=FDR, seed=seed).flagged
            clean = (flagged & ~wrong).sum() / max(1, flagged.sum())
            counts.append((flagged.sum(), clean, (flagged & wrong).sum() / max(1, wrong.sum())))
        (flags, false, power), error = np.mean(counts, axis=0), np.std(counts, axis=0, ddof=1)[1] / len(counts) ** 0.5
        print(f"{case:<22}{flags:>10.1f}{false:>16.3f}{error:>16.3f}{power:>14.3f}", flush=True)


if __name__ == "__main__":
    main()
