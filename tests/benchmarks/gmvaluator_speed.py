"""Seconds of GMValuator's recall against the bare matrix product and top-k, and of the valuation after it.

python -m tests.benchmarks.gmvaluator_speed [--scale 1] [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from royalty.models.valuation.gmvaluator import BATCH, build_index, gmvaluator_values
from royalty.models.valuation.neighbours import Index
from tests.benchmarks.lava_speed import least_seconds, verdict
from tests.benchmarks.manifold import embeddings

ITEMS, GENERATED, DIMENSIONS, K = 50_000, 10_000, 1_280, 100
BARE_TARGET, VALUATION_TARGET = 1.3, 0.1

TITLE = """\
The {k} nearest of {n:,} training items to {m:,} generated ones, {d:,} dimensions of float32
(tests.benchmarks.manifold); {threads} thread(s); the least of {rounds} interleaved rounds.

bare: in plain torch, products of a batch of generated vectors with all training vectors, and topk of each row. recall:
exact search, in the same batches. valuation: all of `gmvaluator_values` but its recall; the least of the rounds.
"""


class Timed(Index):
    """An index that counts the seconds of its searches."""

    seconds = 0.0

    def search(self, queries: np.ndarray, k: int, *, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        started = time.perf_counter()
        found = super().search(queries, k, threads=threads)
        self.seconds += time.perf_counter() - started
        return found


def speed(n: int, m: int, rounds: int) -> None:
    train, generated = embeddings(n, DIMENSIONS, seed=0), embeddings(m, DIMENSIONS, seed=1)
    started = time.perf_counter()
    index = Timed(build_index(train, kind="flat").exact)
    build = time.perf_counter() - started
    sources, targets = torch.from_numpy(train), torch.from_numpy(generated)
    recalls: list[float] = []
    valuations: list[float] = []

    def bare() -> None:
        for start in range(0, m, BATCH):
            (targets[start : start + BATCH] @ sources.T).topk(K)

    def value() -> None:
        index.seconds, started = 0.0, time.perf_counter()
        gmvaluator_values(train, generated, k=K, index=index)
        recalls.append(index.seconds)
        valuations.append(time.perf_counter() - started - index.seconds)

    taken = least_seconds({"bare": bare, "value": value}, rounds)
    rows = {"bare": taken["bare"].clock, "recall": min(recalls), "valuation": min(valuations), "build, once": build}
    print(f"{'':<14}{'seconds':>10}{'of bare':>10}{'of recall':>11}")
    for name, seconds in rows.items():
        print(f"{name:<14}{seconds:>10.3f}{seconds / rows['bare']:>10.3f}{seconds / rows['recall']:>11.3f}")
    for name, peer, target in (("recall", "bare", BARE_TARGET), ("valuation", "recall", VALUATION_TARGET)):
        ratio = rows[name] / rows[peer]
        print(f"{name}: {ratio:.3f} of the {peer}, {verdict(ratio <= target)} at most {target:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1, help="share of the items and of the generated images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    n, m = round(chosen.scale * ITEMS), round(chosen.scale * GENERATED)
    print(TITLE.format(k=K, n=n, m=m, d=DIMENSIONS, threads=chosen.threads, rounds=chosen.rounds), flush=True)
    speed(n, m, chosen.rounds)


if __name__ == "__main__":
    main()
