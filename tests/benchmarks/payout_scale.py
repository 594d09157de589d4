"""A million people: divided, posted, verified, exported and read, with bounds on time and memory.

python -m tests.benchmarks.payout_scale --contributors 1000000 [--database postgresql] [--only money,periods,pages]

Each row is measured with N contributors and with a tenth of them, in processes of their own: growth is the ratio, which
is 10 if time is linear. Times are processor seconds of that process; those of a PostgreSQL server are not in them. The
exit code is 1 if a bound is missed. Bounds of time are for a million, and in proportion for fewer; a second
is always allowed.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, eye_array

from royalty.infra.audit.checkpoints import Notary
from royalty.infra.audit.pack import write_pack
from royalty.infra.audit.verifier import verify
from royalty.infra.ledger.ledger import Ledger, close_statement
from royalty.infra.ledger.postings import Posting
from royalty.infra.ledger.verification import Book
from royalty.infra.pages.audit import render_audit
from royalty.infra.pages.language import shipped_language
from royalty.infra.servers.postgres import throwaway_postgres
from royalty.infra.stores.artifacts import ArtifactStore
from royalty.infra.stores.chain import pool_key
from royalty.infra.stores.database import open_database, writing_alone
from royalty.infra.stores.tables import PoolRow
from royalty.models.payout.division import Division, Terms, divide_pool
from royalty.models.payout.identities import overlaps, split
from royalty.models.payout.policies import Credit
from tests.benchmarks.many_pages import contents_of, write_pages

MILLION = 1_000_000
PERIODS = 60
BOUNDS = {
    "divide, post, verify, export": (60.0, "s"),
    "peak memory": (1536.0, "MiB"),
    "peak memory of pages": (896.0, "MiB"),
    "read a statement": (0.05, "s"),
    "read a person": (0.05, "s"),
    "verify 60 periods by a checkpoint": (60.0, "s"),
    "splits of everybody": (600.0, "s"),
    "images in common": (600.0, "s"),
}
"""What is bounded for a million contributors, a tenth of them in each period; the last two are a minute for 100,000."""
FIXED = ("peak memory", "peak memory of pages", "read a statement", "read a person")
"""Bounds that hold whatever the number of contributors is."""
LEAST = 1.0
"""Seconds that are always allowed: connections are opened and queries compiled."""


def credits_of(number: int) -> dict[str, Credit]:
    draw = random.Random(0)
    values = [draw.gauss(1.0, 0.5) for _ in range(number)]
    return {f"contributor {i:07}": Credit(v, v - abs(v) / 10, v + abs(v) / 10) for i, v in enumerate(values)}


def posting_of(division: Division, pool: int) -> Posting:
    rows = division.settlements
    return Posting(
        valuation="0" * 64,
        currency="EUR",
        amounts={name: row.amount for name, row in rows.items()},
        accounts={name: row.account for name, row in rows.items() if row.account},
        reserve=division.reserve,
        claims=sum(row.claims for row in rows.values()),
        pool=pool,
    )


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.process_time()
    yield
    seconds[name] = time.process_time() - began


def money(ledger: Ledger, notary: Notary, folder: Path, number: int) -> dict[str, float]:
    """Divide a pool, post it, verify, export, and read."""
    seconds: dict[str, float] = {}
    credits, pool = credits_of(number), 100 * number
    with timed(seconds, "divide"):
        division = divide_pool(pool, credits, Terms(policy="equal-tiers", minimum=5))
    with timed(seconds, "post"):
        identity = ledger.post("pool", posting_of(division, pool))
    del division, credits
    with timed(seconds, "verify"):
        verified = ledger.verify()
    render = partial(render_audit, language=shipped_language("en"))
    with timed(seconds, "export"):
        packed = write_pack(folder / "pack.zip", ledger, ArtifactStore(folder / "artifacts"), notary, render)
    seconds["divide, post, verify, export"] = sum(seconds.values())
    seconds["peak memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with timed(seconds, "verify the pack by its script"):
        script = verify(folder / "pack.zip", [packed.head])
    if verified.broken or script.problems or packed.entries < number:
        raise SystemExit(f"the ledger does not hold: {verified} {script.problems}")
    for name, read in {
        "read a statement": lambda: ledger.summary(identity),
        "read a person": lambda: ledger.history(f"contributor {number // 2:07}"),
    }.items():
        read()  # the connection is open, and the query is compiled
        with timed(seconds, name):
            read()
    return seconds


def periods(ledger: Ledger, _notary: Notary, _folder: Path, number: int) -> dict[str, float]:
    """Verify 60 pools, each of a tenth of the contributors, in full and by the checkpoint before the last."""
    seconds: dict[str, float] = {}
    names, book = [f"contributor {i:07}" for i in range(number // 10)], Book(seal=ledger.witness)
    with timed(seconds, "write 60 periods"):
        for period in map(str, range(PERIODS)):
            with writing_alone(ledger.engine) as session:
                pool = PoolRow(id=pool_key("fund", period), name="fund", period=period, currency="EUR")
                session.add(pool)
                session.flush()
                entries = [(name, "payment", "0" * 64, 100, "EUR") for name in names]
                entries.append(("", "pool", "0" * 64, -100 * len(names), "EUR"))
                close_statement(session, book, pool, entries, id=f"statement {period}", kind="division", valuation="0")
    heads = ledger.heads(after=ledger.heads()[0]._replace(position=0))
    with timed(seconds, "verify 60 periods by a checkpoint"):
        quick = ledger.verify(since=heads[-2])
    with timed(seconds, "verify 60 periods in full"):
        full = ledger.verify()
    if quick.broken or full.broken or full.statements != PERIODS:
        raise SystemExit(f"the ledger does not hold: {quick} {full}")
    return seconds


def identities(_ledger: Ledger, _notary: Notary, _folder: Path, number: int) -> dict[str, float]:
    """What everybody would get by splitting into two, with tiers; and who has images in common, of one image each."""
    seconds: dict[str, float] = {}
    images = np.random.default_rng(0).integers(0, 256, (number, 1, 8, 8), dtype=np.uint8)
    images[: number // 100] = images[number // 2 : number // 2 + number // 100]
    with timed(seconds, "images in common"):
        pairs = overlaps(images, csr_array(eye_array(number, dtype=bool)))
    if len(pairs) != number // 100:
        raise SystemExit(f"{number // 100} pairs have an image in common, found {len(pairs)}")
    del images
    credits = credits_of(number)
    with timed(seconds, "splits of everybody"):
        split(100 * number, credits, Terms(policy="equal-tiers"))
    return seconds


def pages(_ledger: Ledger, _notary: Notary, folder: Path, number: int) -> dict[str, float]:
    """Write the report, the index and the pages of a hundredth of the contributors, and one file of all."""
    seconds: dict[str, float] = {}
    contents = contents_of(number // 100)
    with timed(seconds, "pages of a hundredth"):
        written = write_pages(contents, folder)
    seconds["peak memory of pages"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if written != number // 100 + 2:
        raise SystemExit(f"{number // 100} contributors have a page each, and there are {written - 2}")
    return seconds


PARTS: dict[str, Callable[[Ledger, Notary, Path, int], dict[str, float]]] = {
    "money": money,
    "periods": periods,
    "identities": identities,
    "pages": pages,
}


def measure(part: str, number: int, url: str) -> dict[str, float]:
    """Measure a part in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.payout_scale", "--contributors", str(number), "--part", part]
    done = subprocess.run([*command, "--url", url], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{part} of {number} contributors failed with exit code {done.returncode}")
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def measured_here(part: str, number: int, url: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        notary = Notary(Path(folder, "audit"))
        ledger = Ledger(open_database(url or f"sqlite:///{Path(folder, 'royalty.db')}"), notary)
        return PARTS[part](ledger, notary, Path(folder), number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contributors", type=int, default=MILLION)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    number = chosen.contributors
    if chosen.part:
        print(json.dumps(measured_here(chosen.part, number, chosen.url)))
        return
    print(f"{chosen.database}\n{'':<36}{number // 10:>12,}{number:>12,}{'growth':>9}{'bound':>10}", flush=True)
    missed = 0
    with throwaway_postgres() if chosen.database == "postgresql" else nullcontext() as server:
        for part in chosen.only.split(","):
            urls = ["" if server is None else server.create_database(f"{part}{size}") for size in (1, 2)]
            small, large = measure(part, number // 10, urls[0]), measure(part, number, urls[1])
            for name, value in large.items():
                bound, unit = BOUNDS.get(name, (None, "s"))
                if bound is not None and name not in FIXED:
                    bound = max(LEAST, bound * number / MILLION)
                late = bound is not None and value > bound
                missed += late
                limit = "" if bound is None else f"{bound:.3g} {unit}{' MISSED' if late else ''}"
                growth = f"{value / max(small[name], 1e-4):.1f}"
                print(f"{name:<36}{small[name]:>12.3f}{value:>12.3f}{growth:>9}{limit:>10}", flush=True)
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
