"""Hours and money of many coalitions on many workers, simulated with the measured durations of a finished run.

    python -m tests.benchmarks.scale_simulation --home HOME --name RUN [--wall SECONDS]
    python -m tests.benchmarks.scale_simulation --home HOME --name RUN --coalitions 4000 --seconds 198 --price 3.00

The durations of the run's coalitions (training, sampling and measuring) are drawn with replacement; `--seconds` scales
them to another mean. Coalitions run in tasks of eight. Each coalition also takes a serial part of the flow's process:
Prefect's task and database rows while coalitions are measured, and MLflow's run after all of them. With `--wall`,
the run's own coalitions are simulated in their order on one worker, and compared with the wall time that `royalty run
--json` printed for them (`timings`, part `coalitions`).
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from royalty.infra.settings import Settings
from royalty.infra.workspace import open_workspace
from royalty.tasks.credit.coalitions import SIDE_BY_SIDE
from royalty.tasks.report.stages import TRACK

WAITING = 0.05
"""Fraction of the workers' time spent on waiting for the serial part from which on the serial part is the limit."""


@dataclass(frozen=True)
class Simulated:
    """Outcome of a simulation, in seconds.

    Attributes:
        measuring: wall time until the last coalition is recorded.
        logging: wall time of MLflow after that.
        busy, waiting: worker seconds of computing, and of waiting for the serial part.
    """

    workers: int
    measuring: float
    logging: float
    busy: float
    waiting: float

    @property
    def wall(self) -> float:
        return self.measuring + self.logging

    @property
    def utilisation(self) -> float:
        return self.busy / (self.workers * self.wall)

    @property
    def waits(self) -> float:
        return self.waiting / (self.busy + self.waiting)


def simulate(
    seconds: Sequence[float], workers: int, *, serial: float, logging: float, together: int = SIDE_BY_SIDE
) -> Simulated:
    """Simulate coalitions in tasks on workers that share one serial process.

    A worker hands each coalition to the serial process, first come, first served, and computes the next one meanwhile.
    It takes its next task when all coalitions of the last one are recorded.

    Args:
        seconds: compute time of each coalition, in the order in which they are taken, shape `(coalitions,)`.
        serial, logging: seconds of the serial process for a coalition, while coalitions are measured and afterwards.
        together: coalitions in a task.
    """
    tasks = [list(seconds[start : start + together]) for start in range(0, len(seconds), together)]
    tasks.reverse()
    # (time at which a coalition is computed, order of entry, the worker's seconds left in its task)
    events: list[tuple[float, int, list[float]]] = []
    entered, free, waiting, ended = 0, 0.0, 0.0, 0.0

    def take(now: float, left: list[float]) -> None:
        nonlocal entered
        heapq.heappush(events, (now + left[0], entered, left[1:]))
        entered += 1

    for _ in range(min(workers, len(tasks))):
        take(0.0, tasks.pop())
    while events:
        now, _, left = heapq.heappop(events)
        free = max(free, now) + serial
        ended = max(ended, free)
        if left:
            take(now, left)
        else:
            waiting += free - now
            if tasks:
                take(free, tasks.pop())
    return Simulated(workers, ended, logging * len(seconds), float(sum(seconds)), waiting)


def durations(home: Path, name: str) -> np.ndarray:
    """Seconds of training, sampling and measuring of each coalition of the last logged run of a name, in its order.

    Raises:
        SystemExit: no finished run of that name is in the home.
    """
    runs = open_workspace(Settings(home=home)).runs
    logged = [row for row in runs.stages(TRACK.name) if row.inputs["name"] == name]
    if not logged:
        raise SystemExit(f"--name must be a finished run of {home}, got {name!r}; `royalty run` makes one")
    measured = runs.measurements(logged[-1].inputs["measurements"])
    taken: dict[str, float] = {}
    for row in measured.values():
        taken[row.coalition] = taken.get(row.coalition, 0.0) + row.sample_seconds + row.measure_seconds
    for key, coalition in runs.coalitions(taken).items():
        taken[key] += coalition.train_seconds
    return np.array(list(taken.values()))


def limit(mean: float, serial: float) -> float:
    """Workers at which coalitions are finished as fast as the serial process can take them."""
    return mean / serial


def show(rows: Sequence[Simulated], price: float) -> None:
    print(f"{'workers':>8}{'measuring':>13}{'MLflow':>10}{'busy':>8}{'waiting':>9}{'worker hours':>14}{'price':>12}")
    for row in rows:
        held = row.workers * row.measuring / 3600  # workers are given back before MLflow
        print(
            f"{row.workers:>8}{row.measuring / 3600:>11.2f} h{row.logging / 60:>6.1f} min{row.utilisation:>8.1%}"
            f"{row.waits:>9.1%}{held:>14,.1f}{held * price:>12,.0f}",
            flush=True,
        )


def first_limited(drawn: Sequence[float], serial: float) -> int:
    """The smallest power of two of workers that wait for more than `WAITING` of their time, each with four tasks."""
    workers = 2 ** max(0, int(np.log2(limit(float(np.mean(drawn)), serial))) - 3)
    while True:
        repeated = np.resize(drawn, 4 * workers * SIDE_BY_SIDE)
        if simulate(repeated, workers, serial=serial, logging=0.0).waits > WAITING:
            return workers
        workers *= 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--name", required=True, help="a finished run in the home")
    parser.add_argument("--coalitions", type=int, default=4000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 8, 64, 256, 1024])
    parser.add_argument("--seconds", type=float, help="mean of a coalition; that of the run by default")
    parser.add_argument("--serial-ms", type=float, default=16.0, help="of a coalition while others are measured")
    parser.add_argument("--mlflow-ms", type=float, default=16.0, help="MLflow of a coalition, after all are measured")
    parser.add_argument("--together", type=int, default=SIDE_BY_SIDE, help="coalitions in a task")
    parser.add_argument("--price", type=float, default=3.0, help="of a worker's hour; an assumption")
    parser.add_argument("--wall", type=float, help="measured wall seconds of the run's coalitions, on one worker")
    given = parser.parse_args()
    measured = durations(given.home, given.name)
    serial, logging = given.serial_ms / 1000, given.mlflow_ms / 1000
    spread = measured.std() / measured.mean()
    print(
        f"{len(measured)} coalitions of {given.name!r}: mean {measured.mean():.2f} s, from {measured.min():.2f} to "
        f"{measured.max():.2f} s, standard deviation {spread:.0%} of the mean"
    )
    if given.wall:
        again = simulate(measured, 1, serial=serial, logging=0.0)
        print(
            f"one worker: simulated {again.measuring:.1f} s, measured {given.wall:.1f} s, ratio "
            f"{again.measuring / given.wall:.3f}"
        )
        return
    drawn = np.random.default_rng(0).choice(measured, given.coalitions)
    scale = 1.0 if given.seconds is None else given.seconds / measured.mean()
    mean = scale * measured.mean()
    print(f"{given.coalitions:,} coalitions of {mean:.1f} s, {given.price:.2f} for a worker's hour")
    rows = [
        simulate(scale * drawn, count, serial=serial, logging=logging, together=given.together)
        for count in given.workers
    ]
    show(rows, given.price)
    print(
        f"Workers wait for more than {WAITING:.0%} of their time from {first_limited(scale * drawn, serial):,} on; the "
        f"serial part is busy all the time from {limit(mean, serial):,.0f} on."
    )


if __name__ == "__main__":
    main()
