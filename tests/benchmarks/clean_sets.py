"""What the detector flags where nothing is planted: both sides are drawn from one labelled set.

python -m tests.benchmarks.clean_sets [--train train.parquet] [--items 2000] [--images 1000] [--draws 20] [--first 2601]

Without `--train`, images are scikit-learn's digits, 900 against 500, compared by their pixels; others are embedded by
EfficientNet-Lite0 as `royalty detect` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from royalty.models.base.resolution import resolution_of
from royalty.models.data.labelled import numbered, read_items, typical_side
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.judging.draws import over_draws
from royalty.models.valuation.calibration import selected
from royalty.models.valuation.detector import detect_items
from tests.benchmarks.without_validation import features_of

RATES = (0.05, 0.1, 0.2)


def features_and_labels(train: Path | None, needed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features, `(items, dimensions)`, and labels of the whole set, or of so many images drawn from it."""
    if train is None:
        pixels, labels = load_digits(return_X_y=True)
        return features_of(np.round(pixels * (255 / 16)).astype(np.uint8)), labels
    items = read_items(train, size=min(typical_side(train) or 32, 224))
    assert items.images is not None
    rows = np.random.default_rng(0).permutation(len(items.images))[:needed]
    numbers, _ = numbered(items.labels, items.labels)
    assert numbers is not None
    return EfficientNetLite0(size=resolution_of(items.images.shape[-1])).features(items.images[rows]), numbers[rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--items", type=int)
    parser.add_argument("--images", type=int)
    parser.add_argument("--pool", type=int, default=10_000, help="images that draws are taken from")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=2601, help="seed of the first draw")
    chosen = parser.parse_args()
    items, images = (
        chosen.items or (900 if chosen.train is None else 2000),
        chosen.images or (500 if chosen.train is None else 1000),
    )
    features, labels = features_and_labels(chosen.train, chosen.pool)
    print(f"{items} training items against {images} clean ones, {chosen.draws} draws from {len(labels)} images")
    counts: dict[float, list[int]] = {rate: [] for rate in RATES}
    for seed in range(chosen.first, chosen.first + chosen.draws):
        rows = np.random.default_rng(seed).permutation(len(labels))[: items + images]
        train, val = rows[:items], rows[items:]
        found = detect_items(features[train], labels[train], features[val], labels[val], seed=seed)
        for rate in RATES:
            counts[rate].append(int(selected(np.exp(found.scores), rate).sum()))
    print(f"{'rate':>6}{'sets with a flag':>18}{'items flagged, mean':>21}{'half of the interval':>22}{'most':>6}")
    for rate, flagged in counts.items():
        mean = over_draws(flagged)
        print(
            f"{rate:>6g}{np.mean(np.array(flagged) > 0):>18.0%}{mean.mean:>21.2f}{mean.high - mean.mean:>22.2f}"
            f"{max(flagged):>6}"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
