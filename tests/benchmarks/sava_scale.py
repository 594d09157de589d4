"""SAVA of a million items: seconds and memory, how near it is to LAVA, and what a second process gains.

python -m tests.benchmarks.sava_scale [--quick] [--threads 2] [--items 100000 1000000] [--targets 10000]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from royalty.models.judging.detection import detection
from royalty.models.valuation.batches import SHARE, Batching, BatchTransport, Plan, Share, Valued, plan_values, take
from royalty.models.valuation.ground import Options
from royalty.models.valuation.lava import MAX_ITERATIONS, lava_values
from royalty.models.valuation.sava import (
    batchwise_lava_values,
    combine_shares,
    join,
    sava_values,
    solve_share,
    value_share,
)
from tests.benchmarks.lava_speed import (
    EPSILON,
    FLIPPED,
    GIB,
    TOLERANCE,
    Memory,
    blobs,
    in_fresh_process,
    verdict,
    watched,
)

RATIO_TARGET, MEMORY_TARGET, WORKERS_TARGET, RANK_TARGET = 11.0, 4.0, 1.7, 0.95
DIMENSIONS, BATCH = 128, 1024
PIECE = 50_000
"""Items that are written together."""

TITLE = """\
SAVA of training items of 10 blobs, a quarter of them mislabelled, {d} dimensions of float32, read from a memory-mapped
file, against {m:,} of validation, in batches of {batch:,}; epsilon {epsilon:g}, marginal error {tolerance:g}, {threads}
thread(s).

Memory is of a process of its own, GiB. before: resident when the valuation begins. peak: resident at most; what
ru_maxrss counts, with the pages of the file that happen to be in memory. anonymous: at most without them, seen every
5 ms: what the process itself needs. The target of {target:g} GiB is for the peak. processor: seconds of it, which other
work on the machine changes far less than those on the clock.
"""

Written = tuple[str, str]
"""Files of features and of labels."""

_worker: dict[str, Any] = {}


def write(folder: Path, items: int) -> Written:
    """Features and labels as .npy files, a piece at a time."""
    features, labels = folder / f"features-{items}.npy", folder / f"labels-{items}.npy"
    rows = np.lib.format.open_memmap(features, "w+", np.float32, (items, DIMENSIONS))
    every = np.empty(items, dtype=np.int64)
    for start in range(0, items, PIECE):
        piece = slice(start, min(start + PIECE, items))
        rows[piece], every[piece], _ = blobs(piece.stop - start, DIMENSIONS, seed=start, flipped=FLIPPED)
    rows.flush()
    np.save(labels, every)
    return str(features), str(labels)


def opened(written: Written) -> tuple[np.ndarray, np.ndarray]:
    features, labels = written
    return np.load(features, mmap_mode="r"), np.load(labels)


def validation(targets: int) -> tuple[np.ndarray, np.ndarray]:
    features, labels, _ = blobs(targets, DIMENSIONS, seed=1)
    return features, labels


def value_file(written: Written, targets: int, threads: int) -> tuple[Memory, float, float, dict[str, Any]]:
    torch.set_num_threads(threads)
    train, labels = opened(written)
    val, val_labels = validation(targets)
    started, busy = time.perf_counter(), time.process_time()
    with watched() as memory:
        found = sava_values(train, labels, val, val_labels, epsilon=EPSILON, tolerance=TOLERANCE, batch_size=BATCH)
    return memory, time.perf_counter() - started, time.process_time() - busy, found.diagnostics


def scale(folder: Path, sizes: Sequence[int], targets: int, threads: int) -> None:
    print(
        f"{'items':>10}{'seconds':>10}{'ratio':>8}{'processor':>11}{'ratio':>8}{'pairs of batches':>18}"
        f"{'passes a pair':>15}{'before':>9}{'peak':>8}{'anonymous':>11}{'of target':>11}"
    )
    taken: list[float] = []
    busy: list[float] = []
    peak = 0.0
    for items in sizes:
        written = write(folder, items)
        memory, seconds, processor, diagnostics = in_fresh_process(value_file, written, targets, threads)
        taken.append(seconds)
        busy.append(processor)
        pairs = diagnostics["batches"] * -(-targets // BATCH)
        peak = max(peak, memory.peak / GIB)
        print(
            f"{items:>10,}{seconds:>10.1f}{seconds / taken[0]:>8.2f}{processor:>11.1f}"
            f"{processor / busy[0]:>8.2f}{pairs:>18,}{diagnostics['iterations'] / pairs:>15.2f}"
            f"{memory.before / GIB:>9.2f}{memory.peak / GIB:>8.2f}{memory.anonymous / GIB:>11.2f}"
            f"{memory.peak / GIB / MEMORY_TARGET:>11.2f}",
            flush=True,
        )
    ratio, processor = taken[-1] / taken[0], busy[-1] / busy[0]
    print(
        f"{sizes[-1] / sizes[0]:g} times the items: {ratio:.2f} times the seconds, {processor:.2f} times those of the "
        f"processor, {verdict(processor <= RATIO_TARGET)} at most {RATIO_TARGET:g}"
    )
    print(f"peak: {peak:.2f} GiB, {verdict(peak <= MEMORY_TARGET)} at most {MEMORY_TARGET:g} GiB\n")


def nearness(items: int, targets: int, sizes: Sequence[int]) -> None:
    train, labels, wrong = blobs(items, DIMENSIONS, seed=0, flipped=FLIPPED)
    sets = train, labels, *validation(targets)
    started = time.perf_counter()
    exact = lava_values(*sets, epsilon=EPSILON, tolerance=TOLERANCE)
    whole = time.perf_counter() - started
    print(f"of LAVA, at {items:,} x {targets:,}: rank correlation of the values, and seconds as a share of its own")
    print(f"{'':<46}{'Spearman':>10}{'AUROC of wrong labels':>23}{'seconds':>9}{'of LAVA':>9}")
    print(f"{'LAVA':<46}{1:>10.4f}{detection(exact.values, wrong).auroc:>23.4f}{whole:>9.2f}{1:>9.2f}")
    lowest = 1.0
    for name, method in (
        ("SAVA", sava_values),
        ("SAVA in the paper's form", partial(sava_values, form="paper")),
        ("LAVA of batches, averaged", batchwise_lava_values),
    ):
        for size in sizes:
            started = time.perf_counter()
            found = method(*sets, epsilon=EPSILON, tolerance=TOLERANCE, batch_size=size)
            seconds = time.perf_counter() - started
            rank = float(spearmanr(found.values, exact.values).statistic)
            if method is sava_values:
                lowest = min(lowest, rank)
            print(
                f"{f'{name}, batches of {size:,}':<46}{rank:>10.4f}{detection(found.values, wrong).auroc:>23.4f}"
                f"{seconds:>9.2f}{seconds / whole:>9.2f}",
                flush=True,
            )
    print(f"lowest of SAVA: {lowest:.4f}, {verdict(lowest >= RANK_TARGET)} at least {RANK_TARGET:g}\n")


def begin(plan: Plan, written: Written) -> None:
    torch.set_num_threads(1)
    _worker.update(plan=plan, train=opened(written))


def ready(seconds: float) -> int:
    """Occupy a worker, so that the others must have started too."""
    time.sleep(seconds)
    return os.getpid()


def solved(number: int) -> tuple[Share, int, float]:
    started = time.process_time()
    plan, train = _worker["plan"], _worker["train"]
    share = solve_share(plan, (take(train, batch) for batch in plan.shares[number]))
    return share, os.getpid(), time.process_time() - started


def valued(number: int, agreed: BatchTransport) -> tuple[Valued, int, float]:
    started = time.process_time()
    plan, train = _worker["plan"], _worker["train"]
    first = sum(map(len, plan.shares[:number]))
    share = value_share(plan, agreed, (take(train, batch) for batch in plan.shares[number]), first)
    return share, os.getpid(), time.process_time() - started


def workers(folder: Path, items: int, targets: int, batch: int) -> None:
    written = write(folder, items)
    options = Options(1.0, 1.0, EPSILON, TOLERANCE, MAX_ITERATIONS)
    started = time.perf_counter()
    plan = plan_values(opened(written), validation(targets), options, Batching(batch, True, 0))
    planned = time.perf_counter() - started
    shares = len(plan.shares)
    print(
        f"{items:,} x {targets:,} in batches of {batch:,}, {shares} shares of at most {SHARE}, one thread each; "
        f"the plan, made once for all, took {planned:.1f} s"
    )
    print(f"{'processes':>10}{'seconds':>9}{'ratio':>8}{'processor of the busiest, s':>29}{'ratio':>8}{'start, s':>10}")
    first: tuple[float, float] | None = None
    values, ratio = [], 0.0
    for processes in (1, 2):
        started = time.perf_counter()
        with ProcessPoolExecutor(processes, get_context("spawn"), begin, (plan, written)) as pool:
            while len(set(pool.map(ready, [0.2] * processes))) < processes:
                pass
            start, started = time.perf_counter() - started, time.perf_counter()
            found = list(pool.map(solved, range(shares)))
            agreed = combine_shares(plan, [share for share, _, _ in found])
            done = list(pool.map(partial(valued, agreed=agreed), range(shares)))
            clock = time.perf_counter() - started
        busy: dict[int, float] = {}
        for _, process, seconds in (*found, *done):
            busy[process] = busy.get(process, 0.0) + seconds
        busiest = max(busy.values())
        values.append(join(plan, agreed, [share for share, _, _ in done]).values)
        first = first or (clock, busiest)
        ratio = first[0] / clock
        print(
            f"{processes:>10}{clock:>9.2f}{ratio:>8.2f}{busiest:>29.2f}{first[1] / busiest:>8.2f}{start:>10.1f}",
            flush=True,
        )
    print(
        f"a second process: {ratio:.2f} times as fast, {verdict(ratio >= WORKERS_TARGET)} at least {WORKERS_TARGET:g}; "
        f"values differ by {np.abs(values[1] - values[0]).max():g}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the items")
    parser.add_argument("--items", type=int, nargs="+", help="sizes of the part `scale`, the last ten times the first")
    parser.add_argument("--targets", type=int, help="validation items of the parts `scale` and `workers`")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--parts", nargs="*", choices=["scale", "lava", "workers"], default=["scale", "lava", "workers"]
    )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    sizes, targets = ((2_000, 20_000), 2_000) if chosen.quick else ((100_000, 1_000_000), 10_000)
    sizes, targets = tuple(chosen.items or sizes), chosen.targets or targets
    print(
        TITLE.format(
            d=DIMENSIONS,
            m=targets,
            batch=BATCH,
            epsilon=EPSILON,
            tolerance=TOLERANCE,
            threads=chosen.threads,
            target=MEMORY_TARGET,
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        if "scale" in chosen.parts:
            scale(Path(folder), sizes, targets, chosen.threads)
        if "lava" in chosen.parts:
            nearness(*((2_000, 400, (256, 1024)) if chosen.quick else (10_000, 2_000, (256, 1024, 4096))))
        if "workers" in chosen.parts:
            # Whole shares, as many for each process.
            items, batch = (SHARE * 4 * 256, 256) if chosen.quick else (SHARE * 8 * BATCH, BATCH)
            workers(Path(folder), items, targets, batch)


if __name__ == "__main__":
    main()
