"""Kill runs and payouts at random moments: what is lost, repeated or doubled, and is the result that of a quiet run?

python -m tests.benchmarks.kills [--credit 100] [--payouts 100] [--postgres-credit 10] [--postgres-payouts 40]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from royalty.infra.servers.postgres import throwaway_postgres
from royalty.infra.stores.database import open_database
from tests.benchmarks import payout_kills
from tests.conftest import ROYALTY, SMALL

CONFIG = (
    SMALL.replace("contributors: 3", "contributors: 8")
    .replace("count: 12", "count: 160")
    .replace("finetune_steps: 4", "finetune_steps: 20")
)
JITTER = 2.0

TABLES = ("stages", "coalition_models", "measurements")

TITLE = """\
SIGKILL to the process group of `royalty run` on {database}, {kills} times; then once more to its end. The same run
undisturbed, on SQLite in another home, takes {whole:.1f} s. A kill comes up to {jitter:g} s, at random, after a random
progress has been made; if an earlier start made that already, it comes while the command is starting.
Progress: share of the rows of the undisturbed run, the mean over tables. Moment: seconds since the start.
Rows: stages, models of coalitions, and measurements in the run store, before the start and after the kill.
Untouched: every row from before is still there as it was.
"""

Rows = dict[str, tuple[Any, ...]]


class Job:
    """`royalty run` of one configuration in a home of its own."""

    def __init__(self, config: Path, home: Path, url: str = "") -> None:
        self.config, self.home = config, home
        self.url = url or f"sqlite:///{home / 'royalty.db'}"
        self.store: Engine = open_database(self.url)

    def start(self) -> subprocess.Popen[str]:
        """The command line at the head of a process group, with a Prefect server of its own."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
        places = {"ROYALTY_HOME": str(self.home), "ROYALTY_DATABASE_URL": self.url, "ROYALTY_WORKERS": "2"}
        return subprocess.Popen(
            [ROYALTY, "run", "--config", str(self.config), "--json"],
            env={**environment, **places},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def complete(self) -> tuple[dict[str, Any], float]:
        """The result of a run to its end, and its seconds."""
        began = time.perf_counter()
        out, errors = (process := self.start()).communicate()
        if process.returncode:
            raise SystemExit(f"the run failed with exit code {process.returncode}:\n{errors}")
        return json.loads(out), time.perf_counter() - began

    def finished(self) -> dict[str, Rows]:
        """Every row of the run store, by table and key."""
        with self.store.connect() as connection:
            read = {table: connection.execute(text(f"select * from {table}")) for table in TABLES}
            return {table: {row.key: tuple(row) for row in rows} for table, rows in read.items()}

    def utilities(self) -> dict[str, float]:
        with self.store.connect() as connection:
            return {row.key: row.utility for row in connection.execute(text("select key, utility from measurements"))}

    def has_made(self, whole: Mapping[str, Rows], point: float) -> bool:
        rows = self.finished()
        return sum(len(rows[table]) / len(whole[table]) for table in TABLES) / len(TABLES) >= point


def counts(rows: Mapping[str, Rows]) -> str:
    return " ".join(f"{len(rows[table]):>4}" for table in TABLES)


def untouched(before: Mapping[str, Rows], after: Mapping[str, Rows]) -> bool:
    return all(after[table].get(key) == row for table in TABLES for key, row in before[table].items())


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


def kill_credit(job: Job, quiet: Job, expected: dict[str, Any], kills: int, generator: random.Random) -> int:
    """Print a row a kill; how many runs were killed. Exits if anything was lost, repeated or changed."""
    whole, points = quiet.finished(), sorted(generator.random() for _ in range(kills))
    print(f"{'kill':>4}{'progress':>10}{'moment, s':>11}{'rows before':>16}{'rows after':>16}  untouched  ended by")
    all_untouched, done = True, 0
    for kill, point in enumerate([*points, None], start=1):
        before, began, killed = job.finished(), time.perf_counter(), False
        if point is None:
            result, _ = job.complete()
        else:
            reached = functools.partial(job.has_made, whole, point)
            killed = kill_at(job.start(), reached, generator.uniform(0, JITTER))
        moment, after = time.perf_counter() - began, job.finished()
        same, done = untouched(before, after), done + killed
        all_untouched &= same
        shown = f"{kill:>4}{point:>10.0%}" if point is not None else f"{'last':>4}{'':>10}"
        shown += f"{moment:>11.1f}{counts(before):>16}{counts(after):>16}"
        print(f"{shown}  {'yes' if same else 'NO':<9}  {'kill' if killed else 'itself'}", flush=True)
    identical = result["table"] == expected["table"] and result["rows"] == expected["rows"]
    equal = job.utilities() == quiet.utilities()
    print(
        f"\nFinal tables of credit and payout identical to those of the undisturbed run: {'yes' if identical else 'NO'}"
    )
    print(f"Utilities of all coalitions identical: {'yes' if equal else 'NO'}\n", flush=True)
    if not (all_untouched and identical and equal):
        raise SystemExit("a kill lost, repeated or changed something")
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for kind, kills in {"credit": 100, "payouts": 100, "postgres-credit": 10, "postgres-payouts": 40}.items():
        parser.add_argument(f"--{kind}", type=int, default=kills)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    generator = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as folder, throwaway_postgres() as server:
        place = Path(folder)
        config = place / "kills.yaml"
        config.write_text(CONFIG)
        quiet = Job(config, place / "quiet")
        expected, seconds = quiet.complete()
        asked = [
            ("SQLite", Job(config, place / "home"), chosen.credit),
            ("PostgreSQL", Job(config, place / "shared", server.create_database("credit")), chosen.postgres_credit),
        ]
        killed = dict.fromkeys(("SQLite", "PostgreSQL"), 0)
        for database, job, kills in asked:
            if kills:
                print(TITLE.format(database=database, kills=kills, whole=seconds, jitter=JITTER))
                killed[database] += kill_credit(job, quiet, expected, kills, generator)
        payout_kills.introduce()
        for database, url, kills in (
            ("SQLite", f"sqlite:///{place / 'killed.db'}", chosen.payouts),
            ("PostgreSQL", server.create_database("payouts"), chosen.postgres_payouts),
        ):
            if kills:
                killed[database] += payout_kills.measure(database, url, kills, generator)
        print(f"\nKilled over credit and payouts: {killed['SQLite']} on SQLite, {killed['PostgreSQL']} on PostgreSQL")


if __name__ == "__main__":
    main()
