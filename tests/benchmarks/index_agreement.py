"""How often the training images that an index finds have the label of an image, how many images it refuses, and which
altered copies it recognizes.

python -m tests.benchmarks.index_agreement --train train.parquet --generated test.parquet [--items 2000] [--images 200]
    [--copies 100] [--splits 8]

Images are read, embedded, indexed and searched as `royalty index build` and `royalty serve` do it, with the defaults.
Images that no generator made stand for generated ones, so that their labels are known. They were not trained on, so
the fraction that is unattributable should be `far_rate`, 1%; it is the mean over random splits of all images into
those of an index and others, with half of them in each. Copies are altered as by `tests.benchmarks.copies`, and taken
for copies as by `royalty find`. Standard errors are of the mean over images or splits.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from royalty.infra.attribution.shards import ShardStore
from royalty.models.data.labelled import Items
from royalty.models.encoders.registry import build_encoder
from royalty.models.judging.criteria import identical_class
from royalty.models.valuation.near_copies import NEAREST
from royalty.tasks.attribution import index
from royalty.tasks.attribution.attributing import ServedIndex
from royalty.tasks.attribution.description import Description, table_of
from royalty.tasks.config.attribution import IndexConfig
from royalty.tasks.items.embeddings import embedding_key
from tests.benchmarks.attribution import labelled
from tests.benchmarks.copies import varied

SOUGHT = NEAREST, 50
"""Nearest training images that an image is compared with: as `royalty find` does, and more."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--generated", type=Path, required=True)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--ks", type=int, nargs="+", default=[30, 50, 100])
    parser.add_argument("--copies", type=int, default=100)
    parser.add_argument("--splits", type=int, default=8)
    arguments = parser.parse_args()
    images, labels, made, made_labels = labelled(arguments)
    config = IndexConfig(model="cifar", train=arguments.train)
    shape = images.shape[1:]
    resolution = config.seen_at(shape[-1])
    encoder = build_encoder(config.encoder, shape=shape, resolution=resolution)
    items = _items(images)
    about = Description.by(config, embedding_key(encoder, images), shape)
    features, made_features = encoder.features(images), encoder.features(made)
    draws = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        index.build(ShardStore(Path(folder)), features, table_of(items), about, images=images)
        served = ServedIndex.open(Path(folder))
        found = [served.nearest(query) for query in made_features]
        altered = np.stack([varied(images[row], draws) for row in range(arguments.copies)])
        began = time.process_time()
        copies = [recognized(served, *pair) for pair in zip(altered, encoder.features(altered), strict=True)]
        spent = 1000 * (time.process_time() - began) / len(altered)
        others = [recognized(served, *pair) for pair in zip(made, made_features, strict=True)]
    shares = identical_class(np.stack([rows for _, rows in found]), labels, made_labels, ks=arguments.ks)
    cells = ", ".join(f"{100 * share.share:.1f} ± {100 * share.stderr:.1f}" for share in shares)
    print(f"{len(images)} training images of {shape[-1]} pixels, seen at {resolution}; {len(made)} others")
    print(f"share with the label of the {arguments.ks} nearest, %: {cells}")
    print(f"temperature {served.about.shared_at:.3f}; similarity of copies from {served.about.alike:.2f}")
    for sought in SOUGHT:
        right = np.mean([row in copied[sought] for row, (_, copied) in enumerate(copies)])
        wrong = np.mean([bool(copied[sought] - {row}) for row, (_, copied) in enumerate(copies)])
        taken = np.mean([bool(copied[sought]) for _, copied in others])
        print(
            f"{sought} nearest compared: {right:.1%} of copies recognized, {wrong:.1%} taken for those of another image"
        )
        print(f"  {taken:.1%} of {len(others)} other images taken for copies")
    nearest = np.mean([number == row for row, (number, _) in enumerate(copies)])
    print(f"the original is nearest to {nearest:.1%} of copies; {spent:.0f} ms of CPU each, without the embedding")
    every = np.concatenate([features, made_features])
    far = [unattributable(every, config, seed) for seed in range(arguments.splits)]
    error = np.std(far, ddof=1) / np.sqrt(len(far))
    print(f"unattributable in {len(far)} splits of {len(every)} images: {np.mean(far):.2%} ± {error:.2%}")


def recognized(served: ServedIndex, pixels: np.ndarray, features: np.ndarray) -> tuple[int, dict[int, set[int]]]:
    """The nearest item, and those that an image is taken for a copy of, by the number of items compared."""
    numbers = served.nearest_of_all(features)[1]
    copied = {sought: {number for number, _ in served.copied(pixels, numbers[:sought])} for sought in SOUGHT}
    return int(numbers[0]), copied


def unattributable(features: np.ndarray, config: IndexConfig, seed: int) -> float:
    """Fraction of one half of the images that an index of the other half refuses; copies are not looked for."""
    order = np.random.default_rng(seed).permutation(len(features))
    here, others = np.array_split(order, 2)
    items = _items(np.zeros((len(here), 1, 1, 1), np.uint8))
    about = Description.by(config.model_copy(update={"copies": "separate"}), "benchmark", (3, 1, 1))
    with tempfile.TemporaryDirectory() as folder:
        index.build(ShardStore(Path(folder)), features[here], table_of(items), about)
        served = ServedIndex.open(Path(folder))
        return float(np.mean([served.nearest(query)[0][0] > served.far for query in features[others]]))


def _items(images: np.ndarray) -> Items:
    ids = tuple(f"{number:064x}" for number in range(len(images)))
    return Items(images=images, features=None, labels=None, ids=ids, contributors=("Ada",) * len(ids))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
