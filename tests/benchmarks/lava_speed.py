"""Seconds and memory of LAVA, against POT's Sinkhorn in logarithms and against the bare cost of its own passes.

python -m tests.benchmarks.lava_speed [--quick] [--rounds 3] [--epsilon 0.1] [--threads 2]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import torch
from ot.bregman import sinkhorn_log

from royalty.models.judging.detection import detection
from royalty.models.valuation.costs import PointCost
from royalty.models.valuation.ground import Options, chunks, survey
from royalty.models.valuation.lava import MAX_ITERATIONS, calibrated, lava_values
from royalty.models.valuation.transport import solve_transport

EPSILON, TOLERANCE = 0.1, 1e-3
FASTER_TARGET, BARE_TARGET, MEMORY_TARGET = 5.0, 1.5, 2.0
CLASSES, FLIPPED = 10, 0.25
MIB, GIB = 2**20, 2**30

TITLE = """\
LAVA of {n:,} training items of 10 blobs, a quarter of them mislabelled, against {m:,} of validation; {d} dimensions of
float32, epsilon {epsilon:g} of the scale, to a marginal error of {tolerance:g} in L1. {threads} thread(s); the least of
{rounds} interleaved rounds, on the clock and of the processor, which is blind to other programs.

POT is given the cost matrix, and the fewest iterations that reach the error: one more would be wasted, one less too
few. It stops by an L2 norm that it looks at every tenth iteration, and would take more. bare: the passes that LAVA
took, each only a matrix product with the targets and a logsumexp over rows, in tiles of the same size.
"""

Task = Callable[[], object]


@dataclass(frozen=True)
class Seconds:
    clock: float
    processor: float


@dataclass
class Memory:
    """Of one process while something ran, in bytes.

    Attributes:
        before: resident when it began.
        peak: resident at most; what `ru_maxrss` counts, pages of memory-mapped files among it.
        anonymous: the most that was seen without such pages, which the kernel can drop at any time.
    """

    before: int
    peak: int = 0
    anonymous: int = 0


@contextmanager
def watched(every: float = 0.005) -> Iterator[Memory]:
    """Watch this process. The kernel's own peak is set back first; `ru_maxrss` would keep that of the parent."""
    Path("/proc/self/clear_refs").write_text("5")
    memory, ended = Memory(_status("VmRSS")), Event()

    def watch() -> None:
        while not ended.wait(every):
            memory.anonymous = max(memory.anonymous, _status("RssAnon"))

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()
        memory.anonymous = max(memory.anonymous, _status("RssAnon"))
        memory.peak = _status("VmHWM")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, text = line.partition(":")
        if name == field:
            return int(text.split()[0]) * 1024
    raise LookupError(f"the kernel says nothing of {field}; run this on Linux")


def in_fresh_process(function: Callable[..., Any], *arguments: object) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def blobs(items: int, dimensions: int, *, seed: int, flipped: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features around one centre a class, float32, their labels, and which of those are wrong.

    Deviations fall from dimension to dimension, as those of an encoder's principal components do: distances of
    white noise in many dimensions are all the same, and transport of it is solved at once.
    """
    generator = np.random.default_rng(seed)
    deviation = (1 + np.arange(dimensions, dtype=np.float32)) ** -0.5
    centres = np.random.default_rng(99).standard_normal((CLASSES, dimensions), dtype=np.float32)
    labels = generator.permutation(np.arange(items) % CLASSES)
    features = generator.standard_normal((items, dimensions), dtype=np.float32)
    for label in range(CLASSES):
        features[labels == label] += centres[label]
    features *= deviation
    wrong = np.zeros(items, dtype=bool)
    wrong[generator.choice(items, round(flipped * items), replace=False)] = True
    labels[wrong] = (labels[wrong] + generator.integers(1, CLASSES, size=int(wrong.sum()))) % CLASSES
    return features, labels, wrong


def least_seconds(tasks: dict[str, Task], rounds: int) -> dict[str, Seconds]:
    least: dict[str, Seconds] = {}
    for _ in range(rounds):
        for name, task in tasks.items():
            clock, processor = time.perf_counter(), time.process_time()
            task()
            clock, processor = time.perf_counter() - clock, time.process_time() - processor
            best = least.get(name, Seconds(np.inf, np.inf))
            least[name] = Seconds(min(best.clock, clock), min(best.processor, processor))
    return least


def full_matrix(cost: PointCost) -> np.ndarray:
    """All costs, float64, `(n, m)`."""
    whole = np.empty(cost.shape)
    for rows, entries, groups in cost.tiles():
        whole[rows] = (entries + cost.offsets[groups]).numpy()
    return whole


def fewest_iterations(costs: np.ndarray, epsilon: float) -> int:
    """Of POT's recursion until its columns are right, whose error its next step tells; rows are after each."""
    kernel = torch.from_numpy(costs / -epsilon)
    log_a, log_b = (-float(np.log(size)) for size in kernel.shape)
    v = log_b - torch.logsumexp(kernel, 0)
    taken, error = 0, np.inf
    while error > TOLERANCE:
        u = log_a - torch.logsumexp(kernel + v, 1)
        following = log_b - torch.logsumexp(kernel + u[:, None], 0)
        error = float((torch.exp(log_b + v - following) - np.exp(log_b)).abs().sum())
        taken, v = taken + 1, following
    return taken


def marginal_error(plan: Any) -> float:
    """L1, of rows and columns together."""
    return sum(float(abs(plan.sum(axis) - 1 / plan.shape[1 - axis]).sum()) for axis in (0, 1))


def bare_passes(sources: torch.Tensor, targets: torch.Tensor, height: int, passes: int) -> None:
    transposed = targets.T
    for _ in range(passes):
        for start in range(0, len(sources), height):
            torch.logsumexp(sources[start : start + height] @ transposed, dim=1)


def memory_of_lava(items: int, targets: int, dimensions: int, threads: int) -> tuple[Memory, float, dict[str, Any]]:
    torch.set_num_threads(threads)
    train, labels, _ = blobs(items, dimensions, seed=0, flipped=FLIPPED)
    val, val_labels, _ = blobs(targets, dimensions, seed=1)
    started = time.perf_counter()
    with watched() as memory:
        found = lava_values(train, labels, val, val_labels, epsilon=EPSILON, tolerance=TOLERANCE)
    return memory, time.perf_counter() - started, found.diagnostics


def speed(n: int, m: int, d: int, epsilon: float, rounds: int) -> None:
    train, labels, wrong = blobs(n, d, seed=0, flipped=FLIPPED)
    val, val_labels, _ = blobs(m, d, seed=1)
    options = Options(1.0, 1.0, epsilon, TOLERANCE, MAX_ITERATIONS)
    ground = survey(chunks(train, labels), (val, val_labels), options)
    cost = ground.cost((train, labels), (val, val_labels))
    weights = np.full(n, 1 / n), np.full(m, 1 / m)

    def solve() -> Any:
        fresh = ground.cost((train, labels), (val, val_labels))
        return solve_transport(
            fresh, *weights, epsilon=ground.epsilon, tolerance=TOLERANCE, max_iterations=MAX_ITERATIONS
        )

    found, costs = solve(), full_matrix(cost)
    iterations = fewest_iterations(costs, ground.epsilon)
    tensors = tuple(torch.from_numpy(array).float() for array in (*weights, costs))
    # A threshold of zero is never reached, so that exactly these iterations are made.
    settings = {"reg": ground.epsilon, "numItermax": iterations, "stopThr": 0.0, "warn": False}
    errors = {
        "POT, numpy float64": marginal_error(sinkhorn_log(*weights, costs, **settings)),
        "POT, torch float32": marginal_error(sinkhorn_log(*tensors, **settings)),
    }
    sources, targets = (torch.from_numpy(array) for array in (train, val))
    taken = least_seconds(
        {
            "LAVA, transport": solve,
            "POT, numpy float64": lambda: sinkhorn_log(*weights, costs, **settings),
            "POT, torch float32": lambda: sinkhorn_log(*tensors, **settings),
            "bare passes": lambda: bare_passes(sources, targets, cost.height, found.iterations),
            "LAVA, label distances": lambda: survey(chunks(train, labels), (val, val_labels), options),
            "cost matrix for POT": lambda: full_matrix(ground.cost((train, labels), (val, val_labels))),
        },
        rounds,
    )
    own = taken["LAVA, transport"]
    passes = {"LAVA, transport": found.iterations, "bare passes": found.iterations}
    errors["LAVA, transport"] = found.marginal_error
    print(f"{'':<24}{'passes':>8}{'error':>10}{'clock, s':>10}{'of LAVA':>9}{'processor, s':>14}{'of LAVA':>9}")
    for name, seconds in taken.items():
        steps = passes.get(name, iterations if name in errors else 0)
        print(
            f"{name:<24}{steps or '':>8}{f'{errors[name]:.2g}' if name in errors else '':>10}{seconds.clock:>10.3f}"
            f"{seconds.clock / own.clock:>9.2f}{seconds.processor:>14.3f}{seconds.processor / own.processor:>9.2f}"
        )
    for name in ("POT, numpy float64", "POT, torch float32"):
        ratio = taken[name].clock / own.clock
        print(
            f"against {name}: {ratio:.2f} times as fast, {verdict(ratio >= FASTER_TARGET)} at least {FASTER_TARGET:g}"
        )
    ratio = own.clock / taken["bare passes"].clock
    print(
        f"against its bare passes: {ratio:.2f} of their time, {verdict(ratio <= BARE_TARGET)} at most {BARE_TARGET:g}"
    )
    auroc = detection(-calibrated(found.source), wrong).auroc
    print(f"the mislabelled have lower values than the others with an AUROC of {auroc:.3f}\n")


def verdict(met: bool) -> str:
    return "within the target of" if met else "MISSES the target of"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter to a tenth of the items, in one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epsilon", type=float, default=EPSILON, help="of the race with POT")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    rounds, n, m, d = (1, 2_500, 500, 512) if chosen.quick else (chosen.rounds, 10_000, 2_000, 512)
    print(
        TITLE.format(n=n, m=m, d=d, epsilon=chosen.epsilon, tolerance=TOLERANCE, threads=chosen.threads, rounds=rounds)
    )
    speed(n, m, d, chosen.epsilon, rounds)
    n, m = (5_000, 1_000) if chosen.quick else (50_000, 10_000)
    memory, seconds, diagnostics = in_fresh_process(memory_of_lava, n, m, d, chosen.threads)
    grown = (memory.peak - memory.before) / GIB
    print(
        f"LAVA of {n:,} x {m:,} x {d} in a process of its own: {seconds:.1f} s, {diagnostics['iterations']} passes; "
        f"{memory.before / GIB:.2f} GiB resident with the features, {memory.peak / GIB:.2f} GiB at most:\n"
        f"{grown:.2f} GiB of its own, {verdict(grown <= MEMORY_TARGET)} at most {MEMORY_TARGET:g} GiB"
    )


if __name__ == "__main__":
    main()
