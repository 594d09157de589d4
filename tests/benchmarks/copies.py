"""What near copies earn: the value of originals beside copies of them, and how many copies are found.

python -m tests.benchmarks.copies --train train.parquet --generated test.parquet [--items 1000] [--images 200]
    [--copies 1 10 100] [--originals 3] [--resolution 96]

A copy is an image after one to three of: a part cut out and enlarged (70 to 95% of the side), mirrored, encoded as JPEG
of quality 40 to 94, recoloured (brightness, contrast, saturation and hue), moved by up to a tenth. `separate` values
every image by itself; `grouped` finds the copies first. For each number of copies the table has the fraction of copies
found to be of their original, the value of the originals with copies as a fraction of what it is without, at worst, and
what originals and copies have together. False positives are pairs of nearest images of the set itself; the pairs that
are taken for copies should be looked at, because real sets have copies (`--sheet FILE` shows them).
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance

from royalty.infra.pages.pictures import sheet
from royalty.models.data.labelled import read_items, typical_side
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.valuation.centring import centred
from royalty.models.valuation.copies import earliest_members
from royalty.models.valuation.gmvaluator import gmvaluator_values
from royalty.models.valuation.near_copies import NEAREST, near_copy_groups

CHANGES = ("cut", "mirror", "encode", "recolour", "move")


def varied(pixels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A near copy of an image, uint8 `(3, height, width)`."""
    return changed(pixels, generator.permutation(CHANGES)[: generator.integers(1, 4)], generator)


def changed(pixels: np.ndarray, changes: Iterable[str], generator: np.random.Generator) -> np.ndarray:
    """An image after these changes, uint8 `(3, height, width)`."""
    image = Image.fromarray(pixels.transpose(1, 2, 0))
    side = image.width
    for change in changes:
        if change == "cut":
            part = side * generator.uniform(0.7, 0.95)
            left, top = generator.uniform(0, side - part, 2)
            image = image.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + part, top + part))
        elif change == "mirror":
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        elif change == "encode":
            image.save(file := io.BytesIO(), "JPEG", quality=int(generator.integers(40, 95)))
            image = Image.open(file).convert("RGB")
        elif change == "recolour":
            for kind, least, most in (("Brightness", 0.7, 1.3), ("Contrast", 0.7, 1.3), ("Color", 0.0, 1.7)):
                image = getattr(ImageEnhance, kind)(image).enhance(generator.uniform(least, most))
            hue, saturation, brightness = (np.asarray(band) for band in image.convert("HSV").split())
            turned = (hue.astype(np.int64) + generator.integers(-20, 21)).astype(np.uint8)
            image = Image.fromarray(np.stack([turned, saturation, brightness], axis=2), "HSV").convert("RGB")
        elif change == "noise":
            noisy = np.asarray(image) + generator.normal(0, generator.uniform(2, 10), (side, side, 3))
            image = Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))
        else:
            right, down = side * generator.uniform(-0.1, 0.1, 2)
            corner = tuple(int(value) for value in np.asarray(image)[0, 0])
            moved = (1, 0, right, 0, 1, down)
            image = image.transform(
                image.size, Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR, fillcolor=corner
            )
    return np.asarray(image).transpose(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--generated", type=Path)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--copies", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--originals", type=int, default=3)
    parser.add_argument("--resolution", type=int, default=96)
    parser.add_argument("--k", type=int, default=30)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    encoder = EfficientNetLite0(size=arguments.resolution)
    size = min(typical_side(arguments.train) or 32, 224)
    every = read_items(arguments.train, size=size).images
    assert every is not None
    others = every if arguments.generated is None else read_items(arguments.generated, size=size).images
    assert others is not None
    rows = generator.permutation(len(every))
    images = every[np.sort(rows[: arguments.items])]
    made = others[np.sort(rows[-arguments.images :])] if arguments.generated is None else others[: arguments.images]
    features, made_features = encoder.features(images), encoder.features(made)

    began = time.process_time()
    own = near_copy_groups(images, features)
    spent = 1000 * (time.process_time() - began) / len(images)
    print(
        f"{len(images)} images of {size} pixels, seen at {arguments.resolution}: of {NEAREST * len(images)} nearest "
        f"pairs {len(own.pairs)} are taken for copies, in {spent:.1f} ms of CPU an image; "
        f"{len(images) - len(np.unique(own.groups))} images lose their place"
    )
    if arguments.sheet is not None and len(own.pairs):
        order = np.argsort(-own.similarity)[:: max(1, len(own.pairs) // 32)]
        arguments.sheet.write_bytes(sheet(images[own.pairs[order].ravel()], 8))

    def valued(train: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
        first = None if groups is None else earliest_members(groups)
        own_features, generated = centred(train, made_features, first)
        return gmvaluator_values(own_features, generated, k=arguments.k, groups=groups).values

    without = valued(features, own.groups)
    candidates = np.flatnonzero(without > np.quantile(without, 0.8))  # an original that earns nothing cannot lose
    originals = generator.choice(candidates, arguments.originals, replace=False)
    worth = without[originals]
    print("copies  found   value of originals, at worst   with their copies: grouped   separate")
    for number in arguments.copies:
        copies = np.stack([varied(images[row], generator) for row in originals for _ in range(number)])
        owner = np.repeat(originals, number)
        train = np.concatenate([features, encoder.features(copies)])
        found = near_copy_groups(np.concatenate([images, copies]), train)
        values, separate = valued(train, found.groups), valued(train, None)
        kept = values[originals] / worth
        worst = kept[np.abs(kept - 1).argmax()]
        right = (found.groups[len(images) :] == found.groups[owner]).mean()
        together = [(of[originals].sum() + of[len(images) :].sum()) / worth.sum() for of in (values, separate)]
        print(f"{number:6d}  {right:5.1%}  {worst:28.3f}  {together[0]:26.3f}  {together[1]:9.2f}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
