"""How well each method finds each planted corruption of CIFAR-10.

python -m tests.benchmarks.detection_table --train FILE --val FILE [--quick] [--features raw logits probabilities]

The files are CIFAR-10 as Hugging Face distributes it: Parquet with the columns `img`, whose `bytes` are an encoded
image, and `label`.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from models.data.corruptions import CORRUPTIONS, Corrupted
from models.detection import detection
from models.encoders.efficientnet import EfficientNetLite0
from models.errors import InputError
from models.valuation.head import fit_head
from models.valuation.item_baselines import (
    confidence_values,
    el2n_values,
    influence_values,
    prototype_values,
    tracin_values,
)
from models.valuation.items import ItemValues
from models.valuation.knn_shapley import knn_shapley_values
from models.valuation.lava import lava_values
from models.valuation.sava import batchwise_lava_values, sava_values

FEATURES = ("raw", "logits", "probabilities")
AIRPLANE, FROG, TRUCK = 0, 6, 9

TITLE = """\
{train:,} training and {val:,} validation images by seed {seed}, features of {encoder}: {features}.
first fifth: share of the planted found among the fifth of lowest value; of best: ratio to the most that a fifth can
hold. AUROC: 0.5 is chance, 1 best. seconds: on the clock, of the values alone, with features there.
"""

Method = Callable[..., ItemValues]


def random_values(train_features: np.ndarray, *_: np.ndarray, seed: int) -> ItemValues:
    return ItemValues(np.random.default_rng(seed).random(len(train_features)), {})


def methods(seed: int) -> dict[str, Method]:
    return {
        "lava": lava_values,
        "sava": partial(sava_values, seed=seed),
        "batchwise_lava": partial(batchwise_lava_values, seed=seed),
        "knn_shapley": knn_shapley_values,
        "confidence": partial(confidence_values, seed=seed),
        "prototype": prototype_values,
        "el2n": partial(el2n_values, seed=seed),
        "tracin": partial(tracin_values, seed=seed),
        "influence": influence_values,
        "random": partial(random_values, seed=seed),
    }


@dataclass(frozen=True)
class Labelled:
    """uint8 images, `(items, 3, height, width)`, and int64 labels, `(items,)`."""

    images: np.ndarray
    labels: np.ndarray


def read(file: Path, count: int, seed: int) -> tuple[Labelled, Labelled]:
    """Images drawn by the seed, and one airplane that was not drawn."""
    table = pq.read_table(file, columns=["img", "label"])
    labels = table.column("label").to_numpy().astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(labels))
    spare = order[count:][labels[order[count:]] == AIRPLANE][:1]
    if count < 1 or not len(spare):
        raise InputError(f"{file} has {len(labels)} images; {count} cannot be drawn so that an airplane is left")

    def decoded(rows: np.ndarray) -> Labelled:
        encoded = table.column("img").take(rows).to_pylist()
        images = [np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB")) for image in encoded]
        return Labelled(np.stack(images).transpose(0, 3, 1, 2).copy(), labels[rows])

    return decoded(np.sort(order[:count])), decoded(spare)


def plants(
    encoder: EfficientNetLite0, target: np.ndarray, train: Labelled, steps: int
) -> dict[str, Callable[..., Corrupted]]:
    """Each corruption with the share that LAVA's paper gives it."""
    frogs = min(50, int((train.labels == FROG).sum()))
    settings: dict[str, dict[str, object]] = {
        "flipped-labels": {"share": 0.25},
        "noise": {"share": 0.25},
        "backdoor-square": {"share": 0.05, "target_label": AIRPLANE},
        "backdoor-watermark": {"share": 0.05, "target_label": AIRPLANE},
        "backdoor-blend": {"share": 0.05, "target_label": AIRPLANE},
        "irrelevant-class": {"removed": TRUCK},
        "poison-frogs": {
            "target": target,
            "poison_class": FROG,
            "count": frogs,
            "features": encoder.embed,
            "steps": steps,
        },
    }
    return {name: partial(plant, train.images, train.labels, **settings[name]) for name, plant in CORRUPTIONS.items()}


def seen_as(kind: str, train: np.ndarray, val: np.ndarray, val_labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features themselves, or what a head trained on validation makes of them."""
    if kind == "raw":
        return train, val
    head = fit_head(val, val_labels)
    shown = head.logits if kind == "logits" else head.probabilities
    return shown(train).astype(np.float32), shown(val).astype(np.float32)


def measure(
    found: Corrupted, train: np.ndarray, val: np.ndarray, val_labels: np.ndarray, tried: dict[str, Method]
) -> None:
    """A row for each method; one that refuses or gives up says so, and the others go on."""
    share = float(found.planted.mean())
    best = min(0.2 / share, 1.0)
    print(f"{'':<18}{'first fifth':>12}{'of best':>9}{'AUROC':>8}{'seconds':>9}")
    for name, method in tried.items():
        started = time.perf_counter()
        try:
            values = method(train, found.labels, val, val_labels).values
        except InputError as error:
            print(f"{name:<18} none: {error}", flush=True)
            continue
        seconds = time.perf_counter() - started
        measured = detection(values, found.planted)
        print(
            f"{name:<18}{measured.first_fifth:>12.3f}{measured.first_fifth / best:>9.2f}{measured.auroc:>8.3f}"
            f"{seconds:>9.1f}",
            flush=True,
        )
    print()


def table(chosen: argparse.Namespace, train: Labelled, val: Labelled, target: np.ndarray) -> None:
    encoder = EfficientNetLite0().to(chosen.device)
    tried = {name: method for name, method in methods(chosen.seed).items() if name in chosen.methods}
    clean, val_features = (timed("embedding", encoder, part.images) for part in (train, val))
    planted = plants(encoder, target, train, 10 if chosen.quick else 100)
    print(
        TITLE.format(
            train=len(clean),
            val=len(val_features),
            seed=chosen.seed,
            encoder=encoder.name,
            features=", ".join(chosen.features),
        )
    )
    for name in chosen.corruptions:
        started = time.perf_counter()
        found = planted[name](seed=chosen.seed)
        print(f"{name}: planted in {time.perf_counter() - started:.1f} s", file=sys.stderr)
        changed = np.flatnonzero((found.images != train.images).any(axis=(1, 2, 3)))
        features = clean.copy()
        if len(changed):
            features[changed] = timed(name, encoder, found.images[changed])
        # A class that was taken away is one that validation has no images of.
        kept = np.isin(val.labels, found.labels)
        for kind in chosen.features:
            print(
                f"{name}, {kind}: {int(found.planted.sum()):,} planted of {len(clean):,}, {len(changed):,} images new"
            )
            labels = val.labels[kept]
            measure(found, *seen_as(kind, features, val_features[kept], labels), labels, tried)


def timed(name: str, encoder: EfficientNetLite0, images: np.ndarray) -> np.ndarray:
    started = time.perf_counter()
    features = encoder.features(images)
    print(f"{name}: {len(images):,} images embedded in {time.perf_counter() - started:.1f} s", file=sys.stderr)
    return features


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("--train-items", type=int, default=10_000)
    parser.add_argument("--val-items", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features", nargs="+", choices=FEATURES, default=["raw"])
    parser.add_argument("--methods", nargs="+", choices=list(methods(0)), default=list(methods(0)))
    parser.add_argument("--corruptions", nargs="+", choices=list(CORRUPTIONS), default=list(CORRUPTIONS))
    parser.add_argument("--device", default="cpu", help="that embeds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="400 training and 200 validation images")
    return parser.parse_args(arguments)


def main() -> None:
    chosen = parsed()
    torch.set_num_threads(chosen.threads)
    items, targets = (400, 200) if chosen.quick else (chosen.train_items, chosen.val_items)
    train, _ = read(chosen.train, items, chosen.seed)
    val, spare = read(chosen.val, targets, chosen.seed)
    table(chosen, train, val, spare.images[0])


if __name__ == "__main__":
    main()
