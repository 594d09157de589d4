"""What the detector flags: of clean sets, and with planted corruptions.

python -m tests.benchmarks.false_discoveries [--train train.parquet] [--items 2000] [--images 1000] [--draws 20]
    [--first 2601] [--planted none flipped-labels noise ...]

Without `--train`, images are scikit-learn's digits, 900 against 500, compared by their pixels; others are embedded by
EfficientNet-Lite0 as `royalty detect` does, once for all draws. Both sides are drawn from one labelled set, and clean
items are left out so that each class has the same share on both, as `royalty evaluate detection` does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from royalty.models.base.resolution import resolution_of
from royalty.models.data.corruptions import CORRUPTIONS, Corrupted
from royalty.models.data.labelled import numbered, read_items, typical_side
from royalty.models.data.planting import equal_shares
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.judging.detection import discoveries
from royalty.models.judging.draws import over_draws
from royalty.models.valuation.calibration import selected
from royalty.models.valuation.detector import detect_items
from royalty.tasks.config.detection import PlantingConfig
from tests.benchmarks.without_validation import features_of

RATES = (0.05, 0.1, 0.2)
CLEAN = "none"
SHARES = PlantingConfig()
PLANTED = [CLEAN, *(name for name in CORRUPTIONS if name != "poison-frogs")]

Encode = Callable[[np.ndarray], np.ndarray]


def images_of(train: Path | None, needed: int) -> tuple[np.ndarray, np.ndarray, Encode]:
    """Images and labels of the whole set, or of so many images drawn from it, and what computes features."""
    if train is None:
        pixels, labels = load_digits(return_X_y=True)
        return np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8), labels, features_of
    items = read_items(train, size=min(typical_side(train) or 32, 224))
    assert items.images is not None
    rows = np.random.default_rng(0).permutation(len(items.images))[:needed]
    numbers, _ = numbered(items.labels, items.labels)
    assert numbers is not None
    net = EfficientNetLite0(size=resolution_of(items.images.shape[-1]))
    return items.images[rows], numbers[rows], net.features


def planted_in(name: str, images: np.ndarray, labels: np.ndarray, seed: int) -> Corrupted:
    """The images with a corruption in the fractions that `royalty evaluate detection` plants by default."""
    if name == CLEAN:
        return Corrupted(images, labels, np.zeros(len(labels), dtype=bool))
    options: dict[str, Any] = {"share": SHARES.backdoor, "target_label": int(labels.min())}
    if name == "irrelevant-class":
        options = {"removed": int(np.unique(labels)[2])}
    elif name in ("flipped-labels", "noise"):
        options = {"share": SHARES.flipped if name == "flipped-labels" else SHARES.noise}
    return CORRUPTIONS[name](images, labels, seed=seed, **options)  # type: ignore[index]


def features_with(corrupted: Corrupted, images: np.ndarray, features: np.ndarray, encode: Encode) -> np.ndarray:
    """Features of the corrupted images, of which those of unchanged images are known."""
    if len(corrupted.images) != len(images):
        return encode(corrupted.images)
    changed = np.flatnonzero((corrupted.images != images).any(axis=(1, 2, 3)))
    found = features.copy()
    if len(changed):
        found[changed] = encode(corrupted.images[changed])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--items", type=int)
    parser.add_argument("--images", type=int)
    parser.add_argument("--pool", type=int, default=10_000, help="images that draws are taken from")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--first", type=int, default=2601, help="seed of the first draw")
    parser.add_argument("--planted", nargs="+", choices=PLANTED, default=PLANTED)
    chosen = parser.parse_args()
    small = chosen.train is None
    items, clean = chosen.items or (900 if small else 2000), chosen.images or (500 if small else 1000)
    images, labels, encode = images_of(chosen.train, chosen.pool)
    features = encode(images)
    print(f"{items} training items against {clean} clean ones, {chosen.draws} draws from {len(labels)} images\n")
    print(
        f"{'planted':<20}{'rate':>6}{'sets with a flag':>18}{'flagged, mean':>15}{'most':>6}{'clean of them':>16}"
        f"{'+-':>8}{'planted flagged':>17}{'+-':>8}"
    )
    for name in chosen.planted:
        rows: dict[float, list[tuple[int, float, float]]] = {rate: [] for rate in RATES}
        for seed in range(chosen.first, chosen.first + chosen.draws):
            drawn = np.random.default_rng(seed).permutation(len(labels))[: items + clean]
            train, val = drawn[:items], drawn[items:]
            corrupted = planted_in(name, images[train], labels[train], seed)
            kept, val_kept = equal_shares(corrupted.labels, corrupted.planted, labels[val], seed)
            of_train = features_with(corrupted, images[train], features[train], encode)
            val = val[val_kept]
            found = detect_items(of_train[kept], corrupted.labels[kept], features[val], labels[val], seed=seed)
            for rate in RATES:
                flagged = selected(np.exp(found.scores), rate)
                if name == CLEAN:  # whatever is flagged is clean
                    rows[rate].append((int(flagged.sum()), float(flagged.any()), 0.0))
                    continue
                counted = discoveries(flagged, corrupted.planted[kept])
                rows[rate].append((counted.flagged, counted.fdp, counted.power))
        for rate, counts in rows.items():
            number, fdp, power = (np.array(column, dtype=float) for column in zip(*counts, strict=True))
            rates = [over_draws(column.tolist()) for column in (fdp, power)]
            print(
                f"{name:<20}{rate:>6g}{(number > 0).mean():>18.0%}{number.mean():>15.2f}{number.max():>6.0f}"
                f"{rates[0].mean:>16.3f}{rates[0].high - rates[0].mean:>8.3f}"
                + (f"{rates[1].mean:>17.1%}{rates[1].high - rates[1].mean:>8.1%}" if name != CLEAN else ""),
                flush=True,
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
