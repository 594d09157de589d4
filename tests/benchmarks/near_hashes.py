"""How long the nearest earlier hash takes to find for every item of an index, by bands and by comparing all pairs.

    python -m tests.benchmarks.near_hashes [--items 100000 400000 1600000] [--compared 400]

Hashes have 32 of 64 bits at random, as those of photographs, and no copies, which would be found sooner. Some queries,
at even distances, are compared with all; their mean time counts for all queries, and their result by bands is the same.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from royalty.models.data.hashes import NEAREST
from royalty.models.retrieval.hamming import compared_with_all, nearest_earlier

TOGETHER = 100_000


def drawn(items: int) -> np.ndarray:
    """Hashes, uint64, `(items,)`."""
    draws, parts = np.random.default_rng(0), []
    for start in range(0, items, TOGETHER):
        waves = draws.random((min(TOGETHER, items - start), 64))
        parts.append(np.packbits(waves > np.median(waves, axis=1, keepdims=True), axis=1).view(np.uint64)[:, 0])
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[100_000, 400_000, 1_600_000])
    parser.add_argument("--compared", type=int, default=400)
    arguments = parser.parse_args()
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
