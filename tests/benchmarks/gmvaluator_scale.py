"""Seconds of a query, recall and memory of exact and quantized search, as the training set grows.

python -m tests.benchmarks.gmvaluator_scale [--items 10000 100000 1000000] [--queries 512] [--threads 2]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import torch

from royalty.models.valuation.neighbours import Kind, build_index
from tests.benchmarks.lava_speed import GIB, in_fresh_process, verdict, watched
from tests.benchmarks.manifold import embeddings

DIMENSIONS, K = 128, 100
RECALL_TARGET = 0.95
GENERATED = 10_000

TITLE = """\
The {k} nearest of items of {d} dimensions, float32, to {queries} generated ones of the same curved mixture of 100
classes that vary in 24 directions (tests.benchmarks.manifold); {threads} thread(s), each row in a process of its own.

build: scaling, training and filling, once for a training set. query: milliseconds a generated image. growth: of it,
since the row above of that kind. all: seconds of {generated:,} generated images with the build. memory: GiB resident
at most, and what of it was there with the features before the build.
"""


@dataclass(frozen=True)
class Row:
    build: float
    query: float
    recall: float
    before: float
    peak: float

    @property
    def whole(self) -> float:
        return self.build + GENERATED * self.query


def measure(items: int, kind: Kind, queries: int, threads: int) -> Row:
    torch.set_num_threads(threads)
    train, generated = embeddings(items, DIMENSIONS, seed=0), embeddings(queries, DIMENSIONS, seed=1)
    with watched() as memory:
        started = time.perf_counter()
        index = build_index(train, kind=kind)
        built = time.perf_counter()
        index.search(generated, K)
        ended = time.perf_counter()
    recall = index.recall(generated, K)
    return Row(built - started, (ended - built) / queries, recall, memory.before / GIB, memory.peak / GIB)


def scale(sizes: list[int], queries: int, threads: int) -> None:
    print(
        f"{'items':>10}{'kind':>8}{'build, s':>10}{'query, ms':>11}{'growth':>8}{'recall@100':>12}{'all, s':>9}"
        f"{'memory':>8}{'before':>8}"
    )
    rows: dict[Kind, list[Row]] = {"flat": [], "ivfpq": []}
    for items in sizes:
        for kind, known in rows.items():
            row = in_fresh_process(measure, items, kind, queries, threads)
            growth = f"{row.query / known[-1].query:.2f}" if known else ""
            known.append(row)
            print(
                f"{items:>10,}{kind:>8}{row.build:>10.1f}{1e3 * row.query:>11.3f}{growth:>8}{row.recall:>12.4f}"
                f"{row.whole:>9.0f}{row.peak:>8.2f}{row.before:>8.2f}",
                flush=True,
            )
    lowest = min(row.recall for row in rows["ivfpq"])
    print(f"lowest recall of ivfpq: {lowest:.4f}, {verdict(lowest >= RECALL_TARGET)} at least {RECALL_TARGET:g}")
    growth, items_growth = rows["ivfpq"][-1].query / rows["ivfpq"][0].query, sizes[-1] / sizes[0]
    print(
        f"{items_growth:g} times the items: {growth:.2f} times the query of ivfpq, "
        f"{verdict(growth < items_growth)} fewer than {items_growth:g}"
    )
    pairs = zip(sizes, rows["flat"], rows["ivfpq"], strict=True)
    sooner = [items for items, flat, ivfpq in pairs if ivfpq.whole < flat.whole]
    at = f"from {sooner[0]:,} items on" if sooner else "nowhere here"
    print(f"for {GENERATED:,} generated images ivfpq is done sooner {at}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    print(
        TITLE.format(k=K, d=DIMENSIONS, queries=chosen.queries, threads=chosen.threads, generated=GENERATED), flush=True
    )
    scale(chosen.items, chosen.queries, chosen.threads)


if __name__ == "__main__":
    main()
