"""What originals with many near copies earn by `royalty value gmvaluator`, with its defaults.

python -m tests.benchmarks.copied_originals --train train.parquet --generated test.parquet [--items 1000] [--images 200]
    [--copies 1 10 25 100] [--originals 20] [--seed 0]

A copy is an image after one or two of: moved by up to a tenth, mirrored, encoded as JPEG of quality 40 to 94, noise of
standard deviation 2 to 10. Originals are drawn from the half of highest value, since one that earns nothing cannot
lose, and come before their copies. For each number of copies the table has the value of an original as a fraction of
that without copies, median and worst; the same for the original with all its copies, grouped and separate; and the
fractions of copies that are not found to be of their original, that are taken for those of another image, and of the
other images that have lost their place.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from royalty.models.data.labelled import Items, read_items, typical_side
from royalty.tasks.config.matching import Matching
from royalty.tasks.items.embedding_stages import EmbedInputs
from royalty.tasks.items.embedding_worker import embed
from royalty.tasks.items.gmvaluator_worker import match, unseen
from royalty.tasks.items.stages import MatchInputs
from royalty.tasks.items.stored_items import keep_items, load_values
from royalty.tasks.stages.context import StageContext, open_stores, stage_context
from tests.benchmarks.copies import changed

CHANGES = ("move", "mirror", "encode", "noise")


def stored(context: StageContext, images: np.ndarray, side: str) -> str:
    ids = tuple(f"{side}{row:063}" for row in range(len(images)))  # a row is embedded once, also beside more copies
    items = Items(images=images, features=None, labels=None, ids=ids, contributors=None)
    return keep_items(context.artifacts, items).items


def valued(
    context: StageContext, images: np.ndarray, made: np.ndarray, matching: Matching
) -> tuple[np.ndarray, np.ndarray, float]:
    """Value of each image, the row of the earliest of its copies, and the mean quality of the generated images."""
    train, generated = stored(context, images, "1"), stored(context, made, "2")
    for side in (train, generated):
        key = embed(EmbedInputs(side, matching.encoder, "", matching.seen_at(images.shape[1:])), context).encoder
    matched = match(MatchInputs(train, matching, generated=generated, encoder=key), context)
    table = load_values(context.artifacts, matched.table)
    rows = np.arange(len(images))
    first = np.array([int(name[1:]) if name else row for row, name in zip(rows, table["copy_of"], strict=True)])
    return table["value"].to_numpy(), first, 1 - matched.diagnostics["quality_lost"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--generated", type=Path, required=True)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 10, 25, 100])
    parser.add_argument("--originals", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    size = min(typical_side(arguments.train) or 32, 224)
    every, others = (read_items(path, size=size).images for path in (arguments.train, arguments.generated))
    assert every is not None
    assert others is not None
    images = every[np.sort(generator.permutation(len(every))[: arguments.items])]
    made = others[np.sort(generator.permutation(len(others))[: arguments.images])]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        context = stage_context(open_stores(root / "home", "", root / "weights", 1), "benchmark", unseen)
        alone, first, quality = valued(context, images, made, Matching())
        lost = (first != np.arange(len(images))).mean()
        print(
            f"{len(images)} images without copies: {lost:.2%} lose their place; mean quality {quality:.4f}", flush=True
        )
        firsts = np.flatnonzero((alone > np.median(alone)) & (first == np.arange(len(images))))
        originals = generator.choice(firsts, arguments.originals, replace=False)
        most = max(arguments.copies)
        kinds = [generator.permutation(CHANGES)[: generator.integers(1, 3)] for _ in range(most * len(originals))]
        # The first rows are a copy of each original, the next another one of each.
        owner = np.tile(originals, most)
        copies = np.stack([changed(images[row], kind, generator) for row, kind in zip(owner, kinds, strict=True)])
        print(
            "copies   original: median, worst   with copies: median, worst   separate   missed   wrong   lost   quality"
        )
        for number in arguments.copies:
            count = number * len(originals)
            both = np.concatenate([images, copies[:count]])
            values, first, quality = valued(context, both, made, Matching())
            separate = valued(context, both, made, Matching(copies="separate"))[0]
            together, apart = (
                of[originals] + of[len(images) :].reshape(number, -1).sum(0) for of in (values, separate)
            )
            found = first[len(images) :]
            missed, wrong = found >= len(images), (found < len(images)) & (found != owner[:count])
            cells = [middle_and_worst(of / alone[originals]) for of in (values[originals], together)]
            lost = (first[: len(images)] != np.arange(len(images))).mean()
            print(
                f"{number:6}   {cells[0]:>22}   {cells[1]:>25}   {np.median(apart / alone[originals]):8.2f}   "
                f"{missed.mean():6.2%}   {wrong.mean():5.2%}   {lost:.2%}   {quality:.4f}",
                flush=True,
            )
        tried, gone = Counter[str](), Counter[str]()
        for kind, alone_in_group in zip(kinds[:count], (found != owner[:count]).tolist(), strict=True):
            name = " and ".join(sorted(kind))
            tried[name] += 1
            gone[name] += alone_in_group
        print(
            "not found to be of their original: "
            + ", ".join(f"{name} {gone[name] / tried[name]:.1%}" for name in tried)
        )


def middle_and_worst(ratios: np.ndarray) -> str:
    return f"{np.median(ratios):.4f}, {ratios[np.abs(ratios - 1).argmax()]:.4f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
