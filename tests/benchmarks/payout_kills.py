"""Kill processes that pay, at random moments: is a payout lost, doubled or torn, and are the totals right?

python -m tests.benchmarks.payout_kills [--kills 200] [--postgres-kills 50] [--seed 0]
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import LedgerConflict, Posting
from royalty.infra.servers.postgres import throwaway_postgres
from royalty.infra.stores.database import open_database

NAMES = tuple(f"contributor-{index:02d}" for index in range(30))
WINDOW = 0.2
"""Seconds in which a process is killed; on two idle cores, one that nobody disturbs pays four pools in it."""

WORK = 3  # statements of a pool: its division, a correction of that, and the release of what it holds

TITLE = """\
Two processes at once pay pools to {names} contributors, correct each payment and release what is held; each one gets
SIGKILL at random up to {window} s after it began, and others take their place. Then one finishes the pools that were
begun. By then: statements when the last was killed.
Totals: of payments, of what is held and of what pools gave, of every contributor and pool, as a quiet run leaves them.
"""


def pay(ledger: Ledger, pools: Iterable[int]) -> None:
    """Pay every pool, correct it, and release what it holds, unless that was done."""
    done = {one.pool for one in ledger.statements() if one.kind == "release"}
    for index in pools:
        name = f"pool-{index}"
        if name in done:
            continue
        amounts = {person: 100 + (place * index) % 17 for place, person in enumerate(NAMES)}
        corrected = {**amounts, NAMES[0]: 0}
        for posting in (
            Posting(valuation=f"first of {name}", currency="EUR", amounts=amounts),
            Posting(valuation=f"second of {name}", currency="EUR", amounts=corrected, held={NAMES[0]: 7}),
        ):
            try:
                ledger.post(name, posting)
            except LedgerConflict as conflict:
                if "has since replaced it" not in str(conflict):  # which somebody did before being killed, or just now
                    raise
        ledger.release(name, [NAMES[0]])


def start(url: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.benchmarks.payout_kills", "--worker", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it has begun
    return process


def kill(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Kill one that pays pool after pool, without end."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    if process.wait() != -signal.SIGKILL:
        raise SystemExit(f"a process that pays failed with exit code {process.returncode}")


def totals(ledger: Ledger, pools: int) -> list[dict[str, int]]:
    return [ledger.balance(f"pool-{index}", kind) for index in range(pools) for kind in ("payment", "held", "pool")]


def introduce() -> None:
    print(TITLE.format(names=len(NAMES), window=WINDOW))
    heads = f"{'database':<12}{'kills':>6}{'seconds':>10}{'by then':>10}{'statements':>12}{'':>10}"
    print(f"{heads}{'chain':>8}{'totals':>8}", flush=True)


def measure(title: str, url: str, kills: int, generator: random.Random) -> int:
    """Print a row; how many were killed. Exits if anything is not as a quiet run leaves it."""
    done, began = 0, time.perf_counter()
    ledger = Ledger(open_database(url))
    while done < kills:
        both = [start(url) for _ in range(min(2, kills - done))]
        for process in both:
            kill(process, generator.uniform(0, WINDOW))
        done += len(both)
    posted = ledger.statements()
    between, pools = len(posted), len({one.pool for one in posted})
    pay(ledger, range(pools))
    quiet = Ledger(open_database("sqlite://"))
    pay(quiet, range(pools))
    number, verified = len(ledger.statements()), ledger.verify()
    whole = verified.broken is None and verified.statements == number == WORK * pools
    same = totals(ledger, pools) == totals(quiet, pools)
    seconds = time.perf_counter() - began
    answers = f"{'yes' if whole else 'NO':>8}{'yes' if same else 'NO':>8}"
    print(f"{title:<12}{done:>6}{seconds:>10.0f}{between:>10}{number:>12} of {WORK * pools:<6}{answers}", flush=True)
    if not (whole and same):
        raise SystemExit(f"a kill lost, doubled or changed a payout: {verified}")
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--postgres-kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        ledger = Ledger(open_database(chosen.worker))
        print("began", flush=True)
        pay(ledger, count())
        return
    generator = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        introduce()
        measure("SQLite", f"sqlite:///{Path(folder, 'killed.db')}", chosen.kills, generator)
        if chosen.postgres_kills:
            with throwaway_postgres() as server:
                measure("PostgreSQL", server.create_database("killed"), chosen.postgres_kills, generator)


if __name__ == "__main__":
    main()
