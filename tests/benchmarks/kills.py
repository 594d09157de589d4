"""Kill a run at random moments: what is lost, what is repeated, and whether the credit is that of a quiet run.

python -m tests.benchmarks.kills [--kills 10] [--seed 0]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.conftest import ROYALTY, SMALL

CONFIG = (
    SMALL.replace("contributors: 3", "contributors: 8")
    .replace("count: 12", "count: 160")
    .replace("finetune_steps: 4", "finetune_steps: 20")
)
JITTER = 2.0

TABLES = ("stages", "coalition_models", "measurements")

TITLE = """\
SIGKILL to the process group of `royalty run`, {kills} times; then once more to its end. The same run undisturbed, in
another home, takes {whole:.1f} s. A kill comes up to {jitter:g} s, at random, after a random progress has been made; if
an earlier start made that already, it comes while the command is starting.
Progress: share of the rows of the undisturbed run, the mean over tables. Moment: seconds since the start.
Rows: stages, models of coalitions, and measurements in the run store, before the start and after the kill.
Untouched: every row from before is still there as it was.
"""

Rows = dict[str, tuple[Any, ...]]


def finished(home: Path) -> dict[str, Rows]:
    """Every row of the run store, by table and key."""
    if not (home / "royalty.db").exists():
        return {table: {} for table in TABLES}
    with sqlite3.connect(home / "royalty.db", timeout=30) as database:
        known = {name for (name,) in database.execute("select name from sqlite_master")}
        return {
            table: {row[0]: row for row in database.execute(f"select * from {table}")} if table in known else {}
            for table in TABLES
        }


def utilities(home: Path) -> dict[str, float]:
    with sqlite3.connect(home / "royalty.db", timeout=30) as database:
        return dict(database.execute("select key, utility from measurements"))


def counts(rows: Mapping[str, Rows]) -> str:
    return " ".join(f"{len(rows[table]):>4}" for table in TABLES)


def untouched(before: Mapping[str, Rows], after: Mapping[str, Rows]) -> bool:
    return all(after[table].get(key) == row for table in TABLES for key, row in before[table].items())


def start(config: Path, home: Path) -> subprocess.Popen[str]:
    """The command line at the head of a process group, with a Prefect server of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return subprocess.Popen(
        [ROYALTY, "run", "--config", str(config), "--json"],
        env={**environment, "ROYALTY_HOME": str(home), "ROYALTY_WORKERS": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def progress(rows: Mapping[str, Rows], whole: Mapping[str, Rows]) -> float:
    return sum(len(rows[table]) / len(whole[table]) for table in TABLES) / len(TABLES)


def has_made(home: Path, whole: Mapping[str, Rows], point: float) -> bool:
    return progress(finished(home), whole) >= point


def kill_at(process: subprocess.Popen[str], reached: Callable[[], bool], seconds: float) -> bool:
    """Kill the group so long after that was reached; False if the run had ended by itself."""
    while process.poll() is None and not reached():
        time.sleep(0.02)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"the run failed rather than be killed, with exit code {process.returncode}:\n{errors}")
    return process.returncode != 0


def complete(config: Path, home: Path) -> tuple[dict[str, Any], float]:
    """The result of a run to its end, and its seconds."""
    began = time.perf_counter()
    out, errors = (process := start(config, home)).communicate()
    if process.returncode:
        raise SystemExit(f"the run failed with exit code {process.returncode}:\n{errors}")
    return json.loads(out), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    generator = random.Random(chosen.seed)
    points = sorted(generator.random() for _ in range(chosen.kills))
    with tempfile.TemporaryDirectory() as folder:
        config, quiet, home = Path(folder, "kills.yaml"), Path(folder, "quiet"), Path(folder, "home")
        config.write_text(CONFIG)
        expected, seconds = complete(config, quiet)
        whole = finished(quiet)
        print(TITLE.format(kills=chosen.kills, whole=seconds, jitter=JITTER))
        print(f"{'kill':>4}{'progress':>10}{'moment, s':>11}{'rows before':>16}{'rows after':>16}  untouched  ended by")
        all_untouched = True
        for kill, point in enumerate([*points, None], start=1):
            before, began, killed = finished(home), time.perf_counter(), False
            if point is None:
                result, _ = complete(config, home)
            else:
                reached = functools.partial(has_made, home, whole, point)
                killed = kill_at(start(config, home), reached, generator.uniform(0, JITTER))
            moment, after = time.perf_counter() - began, finished(home)
            same = untouched(before, after)
            all_untouched &= same
            shown = f"{kill:>4}{point:>10.0%}" if point is not None else f"{'last':>4}{'':>10}"
            shown += f"{moment:>11.1f}{counts(before):>16}{counts(after):>16}"
            print(f"{shown}  {'yes' if same else 'NO':<9}  {'kill' if killed else 'itself'}", flush=True)
        identical = result["table"] == expected["table"]
        equal = utilities(home) == utilities(quiet)
        print(f"\nFinal credit table identical to that of the undisturbed run: {'yes' if identical else 'NO'}")
        print(f"Utilities of all coalitions identical: {'yes' if equal else 'NO'}")
        if not (all_untouched and identical and equal):
            raise SystemExit("a kill lost, repeated or changed something")


if __name__ == "__main__":
    main()
