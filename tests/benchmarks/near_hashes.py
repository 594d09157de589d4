"""How long the nearest earlier hash takes to find for every item of an index, by bands and by comparing all pairs.

    python -m tests.benchmarks.near_hashes [--items 100000 400000 1600000] [--compared 400]
    python -m tests.benchmarks.near_hashes --grouped 5000 20000 100000

Hashes have 32 of 64 bits at random, as those of photographs, and no copies, which would be found sooner. Some queries,
at even distances, are compared with all; their mean time counts for all queries, and their result by bands is the same.

With `--grouped`, how long `near_copy_groups` takes for images of noise, of which a tenth are mirrored or weaker copies
of others: of that the hashes, by bands, by comparing all, and as the product chooses, which all find the same.
"""

from __future__ import annotations

import argparse
import resource
import time
from unittest.mock import patch

import numpy as np
import torch

from royalty.models.data import hamming
from royalty.models.data.alignment import SIDE
from royalty.models.data.hamming import compared_with_all, nearest_earlier
from royalty.models.data.hashes import NEAREST, nearest_hashes
from royalty.models.valuation.near_copies import near_copy_groups

TOGETHER = 100_000


def drawn(items: int) -> np.ndarray:
    """Hashes, uint64, `(items,)`."""
    draws, parts = np.random.default_rng(0), []
    for start in range(0, items, TOGETHER):
        waves = draws.random((min(TOGETHER, items - start), 64))
        parts.append(np.packbits(waves > np.median(waves, axis=1, keepdims=True), axis=1).view(np.uint64)[:, 0])
    return np.concatenate(parts)


def noise(items: int) -> np.ndarray:
    """Images, uint8, `(items, 1, SIDE, SIDE)`, of which the last tenth are copies of the first."""
    draws, copies = np.random.default_rng(0), items // 10
    images = draws.integers(0, 256, (items, 1, SIDE, SIDE), dtype=np.uint8)
    images[-copies:] = images[:copies] // 2 + 64
    images[-copies::2] = images[:copies:2, :, :, ::-1]
    return images


def grouped(items: int) -> None:
    images = noise(items)
    began = time.process_time()
    found = near_copy_groups(images)
    whole = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    luminance = images[:, 0].astype(np.float32) / 255
    spent, pairs = [], []
    for few in (0, items, hamming.FEW_AT_ONCE):
        with patch.object(hamming, "FEW_AT_ONCE", few):
            began = time.process_time()
            pairs.append(nearest_hashes(luminance))
            spent.append(time.process_time() - began)
    assert all(np.array_equal(pairs[0], others) for others in pairs[1:])
    copies = int((found.groups != np.arange(items)).sum())
    print(f"{items:10}" + "".join(f"{cost:10.1f}" for cost in (*spent, whole)) + f"{peak:10.0f}{copies:10}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 400_000, 1_600_000])
    parser.add_argument("--compared", type=int, default=400)
    parser.add_argument("--grouped", type=int, nargs="+")
    arguments = parser.parse_args()
    if arguments.grouped is not None:
        torch.set_num_threads(1)
        print(
            f"{'items':>9} {'bands, s':>9} {'all, s':>9} {'chosen, s':>9} {'whole, s':>9} {'peak, MB':>9} {'copies':>9}"
        )
        for items in arguments.grouped:
            grouped(items)
        return
    print(f"{'items':>9} {'bands, s':>9} {'µs each':>8} {'all, s':>9} {'µs each':>8} {'ratio':>6}")
    for items in arguments.items:
        codes, before = drawn(items), np.arange(items)
        began = time.process_time()
        found = nearest_earlier(codes, codes, before, NEAREST)
        spent = time.process_time() - began
        places = np.linspace(0, items - 1, arguments.compared).astype(int)
        began = time.process_time()
        compared = [compared_with_all(codes[:place], codes[place], NEAREST) for place in places.tolist()]
        whole = (time.process_time() - began) / len(places) * items
        assert all(found[place, : len(rows)].tolist() == rows for place, rows in zip(places, compared, strict=True))
        print(f"{items:9} {spent:9.1f} {1e6 * spent / items:8.1f} {whole:9.1f} {1e6 * whole / items:8.1f} "
              f"{whole / spent:6.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
