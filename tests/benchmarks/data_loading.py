"""How fast an image set is read, decoded and hashed, against the bare decoding of Pillow, and how large it may be.

    python -m tests.benchmarks.data_loading train.parquet test.parquet

Both sides decode the same images in two processes, in turn, in one run; the second reading is from the artifact that
the first left. Then the peak memory of keeping and mapping a made-up set, in a process of its own.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.data.columns import Columns, parquet_images
from royalty.models.data.credited import read_images
from royalty.models.data.items import ImageSet
from royalty.models.data.stored import open_set, set_pieces

WORKERS = 2
ROUNDS = 3
SIZE = 32
MADE_UP = 20_000
"""Images of 128 by 128 of the made-up set: 983 MB."""


def bare(payloads: list[bytes]) -> int:
    """Decode, and do nothing with it."""
    for payload in payloads:
        Image.open(io.BytesIO(payload)).load()
    return len(payloads)


def bare_seconds(payloads: list[bytes]) -> float:
    began = time.perf_counter()
    parts = [payloads[start : start + 4000] for start in range(0, len(payloads), 4000)]
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("forkserver")) as pool:
        assert sum(pool.map(bare, parts)) == len(payloads)
    return time.perf_counter() - began


def main() -> None:
    columns = replace(Columns(), contributor="label")
    listings = [parquet_images(Path(path), columns) for path in sys.argv[1:]]
    payloads = [cell for listing in listings for cell in listing.reader.cells(0, len(listing))]
    options = {"size": SIZE, "validation": 0.1, "classifier": 0.25, "seed": 0, "workers": WORKERS}
    peer, own, again = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder))
        for _ in range(ROUNDS):
            peer.append(bare_seconds(payloads))
            began = time.perf_counter()
            read = [read_images(parquet_images(Path(path), columns), **options) for path in sys.argv[1:]]
            own.append(time.perf_counter() - began)
            digests = [
                store.put_pieces(set_pieces(part, one.squares)) for one in read for part in vars(one.splits).values()
            ]
            began = time.perf_counter()
            for path in sys.argv[1:]:
                hashlib.sha256(Path(path).read_bytes()).hexdigest()
            items = sum(len(open_set(store.verified(digest))) for digest in digests)
            again.append(time.perf_counter() - began)
    print(
        f"{len(payloads):,} images, {items:,} distinct; the least of {ROUNDS} rounds; "
        f"load average {os.getloadavg()[0]:.0f}"
    )
    print("| | seconds | images a second | |\n|---|---|---|---|")
    for what, seconds, ratio in (
        ("Pillow, decoding alone", min(peer), ""),
        ("reading, decoding, hashing, merging, splitting", min(own), f"{min(peer) / min(own):.0%} of Pillow's speed"),
        (
            "again, from the artifact, its digest and the source's verified",
            min(again),
            f"{min(own) / min(again):.0f} times faster",
        ),
    ):
        print(f"| {what} | {seconds:.2f} | {len(payloads) / seconds:,.0f} | {ratio} |")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        size, before, peak = pool.submit(memory_of_a_set).result()
    print(
        f"\nA set of {size / 1e6:,.0f} MB, written in pieces and read by map in batches: "
        f"at most {peak:,.0f} MB that are no "
        f"file's, {before:,.0f} MB of them before."
    )


def memory_of_a_set() -> tuple[int, float, float]:
    """Bytes of a made-up set; memory before it, and the most while it was written, opened and read, in MB."""
    rows = np.random.default_rng(0).integers(0, 256, size=(200, 3, 128, 128), dtype=np.uint8)
    labels = np.zeros(MADE_UP, dtype=np.int64)
    ids = [f"{number:064x}" for number in range(MADE_UP)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "squares"
        with path.open("wb") as stream:
            for _ in range(MADE_UP // len(rows)):
                stream.write(rows.tobytes())
        squares = np.memmap(path, np.uint8, "r", shape=(MADE_UP, *rows.shape[1:]))
        part = ImageSet.merge(np.arange(MADE_UP), ids, labels, ["x"], [["ann"]] * MADE_UP)
        seen = [own_memory()]
        store = ArtifactStore(Path(folder))
        found = open_set(store.verified(store.put_pieces(watched(set_pieces(part, squares), seen))))
        draw = np.random.default_rng(1)
        for _ in range(100):
            batch = found.images[draw.integers(MADE_UP, size=64)].astype(np.float32)
            seen.append(own_memory())
            del batch
        return squares.nbytes, seen[0], max(seen)


def watched(pieces: Iterator[bytes], seen: list[float]) -> Iterator[bytes]:
    for piece in pieces:
        seen.append(own_memory())
        yield piece


def own_memory() -> float:
    """Memory of this process in MB without pages of mapped files, which the system takes back when it needs them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


if __name__ == "__main__":
    main()
