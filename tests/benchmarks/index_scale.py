"""How an index of production size searches: recall, time, memory, and the time that building takes.

    python -m tests.benchmarks.index_scale --items 1000000
    python -m tests.benchmarks.index_scale --items 100000 --codes SQ8 PQ64 RaBitQ

Vectors have 1,280 dimensions, none of them negative, as those of EfficientNet-Lite0: 64 latent numbers about one of
many centres, through a random network. The machine's files are read from its cache, as far as memory goes; memory is
that of the process: what it allocated, and what it maps of the files.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from royalty.infra.stores.shards import ShardStore
from royalty.models.retrieval.search import Vectors
from royalty.tasks.attribution.index import COLUMNS, Description, build, opened

DIMENSIONS, LATENT, HIDDEN, CENTRES = 1_280, 64, 512, 2_000
MADE_TOGETHER = 20_000
QUERIES = 200


def made(items: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of vectors; another seed gives other vectors of the same distribution."""
    weights = np.random.default_rng(0)
    first = weights.standard_normal((LATENT, HIDDEN)).astype(np.float32) / LATENT**0.5
    second = weights.standard_normal((HIDDEN, DIMENSIONS)).astype(np.float32) / HIDDEN**0.5
    centres = weights.standard_normal((CENTRES, LATENT)).astype(np.float32)
    for start in range(0, items, MADE_TOGETHER):
        draws, count = np.random.default_rng([seed, start]), min(MADE_TOGETHER, items - start)
        latent = centres[draws.integers(0, CENTRES, count)]
        latent = latent + 0.6 * draws.standard_normal(latent.shape).astype(np.float32)
        yield np.maximum(np.maximum(latent @ first, 0) @ second, 0)


def kept(items: int, file: Path) -> np.ndarray:
    with file.open("wb") as stream:
        for block in made(items, 1):
            stream.write(block.data)
    return np.memmap(file, np.float32, "r", shape=(items, DIMENSIONS))


def truth(features: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Distance of the k-th nearest item of each query, by comparing all."""
    units = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    best = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(features), MADE_TOGETHER):
        block = features[start : start + MADE_TOGETHER]
        block = block / np.linalg.norm(block, axis=1, keepdims=True)
        best = np.concatenate([best, units @ block.T], axis=1)
        best = np.partition(best, best.shape[1] - k, axis=1)[:, -k:] if best.shape[1] > k else best
    cosine = np.sort(best, axis=1)[:, ::-1]
    return np.sqrt(np.maximum(2 - 2 * cosine, 0))


def memory() -> dict[str, float]:
    """Memory of this process in MiB: allocated, mapped from files, and the most of both."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(lines[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile", "VmHWM")}


def measured(vectors: Vectors, queries: np.ndarray, nearest: np.ndarray, k: int) -> tuple[float, np.ndarray]:
    """Fraction of the k nearest that are found, and the seconds of each query."""
    hits, seconds = [], []
    for query, apart in zip(queries, nearest, strict=True):
        began = time.perf_counter()
        distances, _ = vectors.nearest(query, k)
        seconds.append(time.perf_counter() - began)
        hits.append((distances <= apart[k - 1] + 1e-3).mean())  # half precision rounds distances
    return float(np.mean(hits)), np.array(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--codes", nargs="+", default=["SQ8"])
    parser.add_argument("--folder", type=Path, help="where the files are written; by default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        features = kept(options.items, Path(folder) / "features")
        queries = np.concatenate(list(made(QUERIES, 2)))
        nearest = truth(features, queries, 100)
        names = [f"c{number % 97}" for number in range(options.items)]
        items = pa.table({name: pa.array(names, pa.string()) for name in COLUMNS})
        items = items.set_column(0, "id", pa.array([f"{number:064x}" for number in range(options.items)], pa.string()))
        print(f"{options.items} vectors of {DIMENSIONS} dimensions; the nearest is {nearest[:, 0].mean():.3f} away, "
              f"the hundredth {nearest[:, -1].mean():.3f}")  # fmt: skip
        print(f"{'code':8} {'built s':>8} {'cpu s':>8} {'GB':>6} {'k':>4} {'recall':>7} {'median ms':>10} {'p95 ms':>7}"
              f" {'alloc MiB':>10} {'mapped MiB':>11}")  # fmt: skip
        for code in options.codes:
            store = ShardStore(Path(folder) / code)
            store.folder.mkdir()
            began, cpu = time.perf_counter(), time.process_time()
            about = Description("scale", "1", "", (), "made", "none", codes=code)
            manifest = build(store, features, items, about)
            built, busy = time.perf_counter() - began, time.process_time() - cpu
            size = sum(size for shard in manifest.shards for size, _ in shard.files.values()) / 1e9
            parts = store.open(manifest)
            vectors = opened(store, manifest, parts)
            for k in (10, 100):
                measured(vectors, queries[:20], nearest[:20], k)  # what was not in memory yet is read
                for part in parts:
                    part.release()
                recall, seconds = measured(vectors, queries, nearest, k)
                used = memory()
                print(f"{code:8} {built:8.1f} {busy:8.1f} {size:6.2f} {k:4} {recall:7.4f} "
                      f"{1e3 * np.median(seconds):10.2f} {1e3 * np.quantile(seconds, 0.95):7.2f} "
                      f"{used['RssAnon']:10.0f} {used['RssFile']:11.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
