"""Seconds of coalitions with one and two workers of a local cluster, and what the kill of a worker costs.

python -m tests.benchmarks.cluster_speed [--runners threads dask ray] [--coalitions 24]

Every run has a home of its own and trains from scratch, so two workers must give the same table to the last digit, by
any runner and with a worker killed. One worker has more threads, which round sums in another way.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from sqlalchemy import create_engine, inspect, text

ROYALTY = Path(sys.executable).with_name("royalty")
WORKER = {"dask": "multiprocessing.spawn", "ray": "ray::"}
"""What the command line of a worker's process contains."""
TARGET = 1.8


@dataclass(frozen=True)
class Done:
    """A finished run.

    Attributes:
        table: digest of the credit table.
        seconds: wall time of measuring coalitions, with the start of the cluster.
        before: coalitions that were finished when a worker was killed.
        kept: how many of these are still those that were recorded before the kill.
    """

    table: str
    seconds: float
    before: int = 0
    kept: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runners", nargs="+", default=["threads", "dask", "ray"], choices=["threads", "dask", "ray"])
    parser.add_argument("--coalitions", type=int, default=24)
    options = parser.parse_args()
    tables, missed = set[str](), list[str]()
    print(f"{'runner':10}{'one worker':>12}{'two workers':>13}{'ratio':>8}   a worker killed")
    for runner in options.runners:
        one, two = (finished(runner, workers, options.coalitions) for workers in (1, 2))
        tables.add(two.table)
        ratio, killed = one.seconds / two.seconds, ""
        print(f"{runner:10}{one.seconds:>10.1f} s{two.seconds:>11.1f} s{ratio:>8.2f}   ", end="", flush=True)
        if runner in WORKER:
            hit = finished(runner, 2, options.coalitions, kill=True)
            tables.add(hit.table)
            killed = f"{hit.seconds:.1f} s; {hit.kept} of the {hit.before} finished before were kept"
            if not 0 < hit.before == hit.kept:
                missed.append(f"{runner}: {hit.before} were finished before the kill, {hit.kept} kept")
        print(killed, flush=True)
        if ratio < TARGET:
            missed.append(f"{runner}: two workers are {ratio:.2f} times as fast, the target is {TARGET}")
    print(f"tables of two workers that differ in any digit: {len(tables) - 1}")
    if missed or len(tables) > 1:
        sys.exit("\n".join(missed or ["the tables differ"]))


def finished(runner: str, workers: int, coalitions: int, kill: bool = False) -> Done:
    """Run the job in a new home."""
    with tempfile.TemporaryDirectory() as folder:
        home, file = Path(folder) / "home", Path(folder) / "six.yaml"
        config = {
            "data": {"source": "digits", "contributors": 6},
            "generator": {"kind": "ddpm", "attention": [1], "steps": 60},  # with attention, coalitions are not stacked
            "coalitions": {"count": coalitions, "finetune_steps": 60},
            "sampling": {"images": 256},
        }
        file.write_text(yaml.safe_dump(config))
        environment = {
            **os.environ,
            "ROYALTY_HOME": str(home),
            "ROYALTY_RUNNER": runner,
            "ROYALTY_WORKERS": str(workers),
            "OMP_NUM_THREADS": "1",
        }
        command = [str(ROYALTY), "run", "--config", str(file), "--json"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as run:
            before = killed_at(run, home, WORKER[runner], coalitions // 3) if kill else {}
            printed, _ = run.communicate()
        if run.returncode:
            raise SystemExit(f"{runner} with {workers} workers failed")
        result: dict[str, Any] = json.loads(printed)
        (wall,) = (row["seconds"] for row in result["timings"] if row["part"] == "coalitions")
        after = recorded(home)
        return Done(result["table"], wall, len(before), sum(after.get(key) == at for key, at in before.items()))


def killed_at(run: subprocess.Popen[str], home: Path, worker: str, coalitions: int) -> dict[str, str]:
    """Kill one worker and what it started once so many coalitions are finished; those that are finished then."""
    while len(recorded(home)) < coalitions:
        if run.poll() is not None:
            raise SystemExit("the run ended before a worker was killed")
        time.sleep(0.2)
    victim = next(workers_of(run.pid, worker))
    for process in (*victim.children(recursive=True), victim):
        process.kill()
    return recorded(home)


def workers_of(parent: int, worker: str) -> Iterator[psutil.Process]:
    """Processes of a cluster that are at work: they have processes of coalitions."""
    for process in psutil.Process(parent).children(recursive=True):
        if worker in " ".join(process.cmdline()) and process.children():
            yield process


def recorded(home: Path) -> dict[str, str]:
    """Finished coalitions and when they were recorded."""
    if not (home / "royalty.db").exists():
        return {}
    engine = create_engine(f"sqlite:///{home / 'royalty.db'}")
    try:
        if not inspect(engine).has_table("coalition_models"):  # the run makes the tables just now
            return {}
        with engine.connect() as connection:
            return {row.key: row.created_at for row in connection.execute(text("SELECT * FROM coalition_models"))}
    finally:
        engine.dispose()


if __name__ == "__main__":
    main()
