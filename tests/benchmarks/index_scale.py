"""How an index of production size searches: recall, time, memory, and the time that building takes.

    python -m tests.benchmarks.index_scale --items 1000000
    python -m tests.benchmarks.index_scale --items 100000 --codes SQ8 PQ64 RaBitQ

With `--folder`, indexes are kept there and used again.

Vectors have 1,280 dimensions, none of them negative, as those of EfficientNet-Lite0: 64 latent numbers about one of
many centres, through a random network. They are made as they are read, so that the index alone needs a disk; making
them is not in the processor time of building. The index is read from the machine's cache, as far as memory goes; memory
is that of the process: what it allocated, and what it maps of the files.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from royalty.infra.attribution.shards import ShardStore
from royalty.models.retrieval.search import Vectors
from royalty.tasks.attribution.description import COLUMNS, Description, code_of
from royalty.tasks.attribution.index import build, opened

DIMENSIONS, LATENT, HIDDEN, CENTRES = 1_280, 64, 512, 2_000
TOGETHER = 20_000
QUERIES = 200


@dataclass
class Made:
    """Vectors that are made when they are read; another seed gives others of the same distribution.

    Attributes:
        seconds: processor time that making them has taken.
    """

    items: int
    seed: int
    seconds: float = 0.0
    _block: tuple[int, np.ndarray] | None = None

    def __post_init__(self) -> None:
        weights = np.random.default_rng(0)
        self._first = weights.standard_normal((LATENT, HIDDEN)).astype(np.float32) / LATENT**0.5
        self._second = weights.standard_normal((HIDDEN, DIMENSIONS)).astype(np.float32) / HIDDEN**0.5
        self._centres = weights.standard_normal((CENTRES, LATENT)).astype(np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        return self.items, DIMENSIONS

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Ascending rows, float32, `(rows, 1280)`."""
        numbers = np.arange(*rows.indices(self.items)) if isinstance(rows, slice) else rows
        starts = numbers // TOGETHER * TOGETHER
        return np.concatenate([self.block(start, numbers[starts == start] - start) for start in np.unique(starts)])

    def block(self, start: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Rows of the block that begins at `start`, or all of it."""
        began = time.process_time()
        if self._block is None or self._block[0] != start:
            draws, count = np.random.default_rng([self.seed, int(start)]), min(TOGETHER, self.items - start)
            latent = self._centres[draws.integers(0, CENTRES, count)]
            self._block = start, latent + 0.6 * draws.standard_normal(latent.shape).astype(np.float32)
        latent = self._block[1] if rows is None else self._block[1][rows]
        made = np.maximum(np.maximum(latent @ self._first, 0) @ self._second, 0)
        self.seconds += time.process_time() - began
        return made


def truth(features: Made, queries: np.ndarray, k: int) -> np.ndarray:
    """Distance of the k-th nearest item of each query, by comparing all."""
    units = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    best = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(features), TOGETHER):
        block = features.block(start)
        block = block / np.linalg.norm(block, axis=1, keepdims=True)
        best = np.concatenate([best, units @ block.T], axis=1)
        best = np.partition(best, best.shape[1] - k, axis=1)[:, -k:] if best.shape[1] > k else best
    cosine = np.sort(best, axis=1)[:, ::-1]
    return np.sqrt(np.maximum(2 - 2 * cosine, 0))


def memory() -> dict[str, float]:
    """Memory of this process in MiB: allocated, mapped from files, and the most of both."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile", "VmHWM")}


def measured(
    vectors: Vectors, queries: np.ndarray, nearest: np.ndarray, k: int, probes: int
) -> tuple[float, np.ndarray]:
    """Fraction of the k nearest that are found, and the seconds of each query."""
    hits, seconds = [], []
    for query, apart in zip(queries, nearest, strict=True):
        began = time.perf_counter()
        distances, _ = vectors.nearest(query, k, probes=probes)
        seconds.append(time.perf_counter() - began)
        hits.append((distances <= apart[k - 1] + 1e-3).mean())  # half precision rounds distances
    return float(np.mean(hits)), np.array(seconds)


def index_in(folder: Path, items: int, code: str) -> tuple[ShardStore, str]:
    """An index of these vectors, built if it is not there, and what building it took."""
    store, said = ShardStore(folder / f"index-{items}" / "scale" / code), folder / f"built-{items}-{code}"
    if not store.exists:
        features = Made(items, 1)
        names = pa.array([f"c{number % 97}" for number in range(items)], pa.string())
        table = pa.table(dict.fromkeys(COLUMNS, names))
        table = table.set_column(0, "id", pa.array([f"{number:064x}" for number in range(items)], pa.string()))
        store.folder.mkdir(parents=True)
        began, cpu = time.perf_counter(), time.process_time()
        about = Description("scale", code, "", (), "made", code_of(""), codes=code)
        manifest = build(store, features, table, about)
        size = sum(size for shard in manifest.shards for size, _ in shard.files.values()) / 1e9
        busy = time.process_time() - cpu - features.seconds
        built = f"{time.perf_counter() - began:8.1f} {busy:8.1f} {memory()['VmHWM']:9.0f} {size:6.2f}"
        said.write_text(built)
    return store, said.read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--codes", nargs="+", default=["SQ8"])
    parser.add_argument("--folder", type=Path, help="where files are kept, and not made again; else a temporary folder")
    parser.add_argument("--until", choices=("built", "searched"), default="searched")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if options.until == "built":
            for code in options.codes:
                print(code, index_in(folder, options.items, code)[1])
            return
        queries = Made(QUERIES, 2).block(0)
        known = folder / f"truth-{options.items}.npy"
        if not known.exists():
            np.save(known, truth(Made(options.items, 1), queries, 100))
        nearest = np.load(known)
        print(f"{options.items} vectors of {DIMENSIONS} dimensions; the nearest is {nearest[:, 0].mean():.3f} away, "
              f"the hundredth {nearest[:, -1].mean():.3f}")  # fmt: skip
        print(f"{'code':8} {'built s':>8} {'cpu s':>8} {'peak MiB':>9} {'GB':>6} {'k':>4} {'probes':>6} {'recall':>7} "
              f"{'median ms':>10} {'cpu ms':>7} {'p95 ms':>7} {'alloc MiB':>10} {'mapped MiB':>11}")  # fmt: skip
        for code in options.codes:
            store, built = index_in(folder, options.items, code)
            manifest = store.manifest()
            parts = store.open(manifest)
            vectors = opened(store, manifest, parts)
            for k, probes in ((10, 32), (100, 32), (100, 64), (100, 128)):
                measured(vectors, queries[:20], nearest[:20], k, probes)  # what was not in memory yet is read
                for part in parts:
                    part.release()
                cpu = time.process_time()
                recall, seconds = measured(vectors, queries, nearest, k, probes)
                busy, used = (time.process_time() - cpu) / QUERIES, memory()
                print(f"{code:8} {built} {k:4} {probes:6} {recall:7.4f} {1e3 * np.median(seconds):10.2f} "
                      f"{1e3 * busy:7.2f} {1e3 * np.quantile(seconds, 0.95):7.2f} {used['RssAnon']:10.0f} "
                      f"{used['RssFile']:11.0f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
