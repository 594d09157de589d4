"""What building an index of images allocates, by the number of images.

    python -m tests.benchmarks.index_memory [--items 20000 60000]

Images are random, of 32 by 32 pixels, and features random, of 1,280 dimensions; both are on disk, as `royalty index
build` leaves them before it writes the index. Pairs of similar images are not compared, which takes blocks of constant
size and hours. Memory is what the process allocated, at most, beyond what it had before; pages of files that it maps
are not in it, because the system takes them back.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np

from royalty.infra.attribution.shards import ShardStore
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.infra.stores.embeddings import EmbeddingStore
from royalty.models.data.labelled import Items
from royalty.models.retrieval import earlier
from royalty.models.retrieval.search import Vectors
from royalty.tasks.attribution import index
from royalty.tasks.attribution.description import Description, code_of, table_of
from royalty.tasks.items.embeddings import feature_rows
from royalty.tasks.items.stored_items import keep_items, load_items

SIDE, DIMENSIONS, TOGETHER = 32, 1_280, 4_096
ENCODER = "random"


def allocated() -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) * 1024


@contextmanager
def peak() -> Iterator[list[int]]:
    """The most bytes allocated in the block, beyond those before it."""
    before, most, done = allocated(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], allocated() - before)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield most
    finally:
        done.set()
        watching.join()


def kept(folder: Path, count: int) -> str:
    """Digest of items in a folder, with their embeddings."""
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8)
    ids = tuple(f"{number:064x}" for number in range(count))
    embeddings = EmbeddingStore(folder / "embeddings")
    for start in range(0, count, TOGETHER):
        some = ids[start : start + TOGETHER]
        embeddings.add(ENCODER, some, draws.standard_normal((len(some), DIMENSIONS)).astype(np.float32))
    owners = tuple(f"contributor {number % 97}" for number in range(count))
    items = Items(images=images, features=None, labels=None, ids=ids, contributors=owners, file_names=ids)
    return keep_items(ArtifactStore(folder / "artifacts"), items).items


def build(folder: Path, digest: str) -> int:
    """Bytes allocated at most for building the index of stored items."""
    store = ShardStore(folder / "index")
    store.folder.mkdir()
    with (
        patch.object(Vectors, "nearest_earlier", lambda _, numbers, k: np.full((len(numbers), k), -1)),
        patch.object(earlier, "similarity", lambda _, left, __: np.zeros(len(left))),
        peak() as most,
    ):
        items = load_items(ArtifactStore(folder / "artifacts"), digest)
        features = feature_rows(EmbeddingStore(folder / "embeddings"), items, ENCODER)
        about = Description("memory", "1", "efficientnet", (3, SIDE, SIDE), ENCODER, code_of(""))
        index.build(store, features, table_of(items), about, images=items.images)
    return most[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[20_000, 60_000])
    arguments = parser.parse_args()
    print(f"{'items':>8} {'MB':>8} {'bytes an item':>14}")
    for count in arguments.items:
        with tempfile.TemporaryDirectory() as home, get_context("spawn").Pool(1) as alone:
            digest = alone.apply(kept, (Path(home), count))
            with get_context("spawn").Pool(1) as fresh:
                most = fresh.apply(build, (Path(home), digest))
        print(f"{count:8} {most / 1e6:8.0f} {most / count:14.0f}", flush=True)


if __name__ == "__main__":
    main()
