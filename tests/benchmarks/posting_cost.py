"""What a posting costs in a home whose run store has many coalitions, each with a measurement.

`python -m tests.benchmarks.posting_cost --coalitions N` makes a home, posts three pools, and prints the processor
seconds of each posting.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.postings import Posting
from royalty.infra.stores.database import open_database
from royalty.infra.stores.lineage import origin_of
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord
from royalty.infra.stores.tables import CoalitionRow, MeasurementRow

POSTINGS = 3
MEMBERS = 12


def fill(engine: Engine, coalitions: int) -> None:
    """Record coalitions of half of 24 contributors, each measured once, as a run records them."""
    with Session(engine) as session, session.begin():
        for number in range(coalitions):
            members = [f"contributor {(number + step) % 24}" for step in range(MEMBERS)]
            key = f"c{number:063}"
            model = CoalitionRecord(key, members, "sparsified", number, 600, 1.5, "cpu", f"{number:064x}")
            measure = MeasurementRecord(f"m{number:063}", key, "class-entropy", 0, 0.5, 0.1, 0.1)
            rows = CoalitionRow(**asdict(model)), MeasurementRow(**asdict(measure))
            for row in rows:
                session.add(row)
                session.flush()
                session.add(origin_of(row))


def posting_seconds(ledger: Ledger) -> list[float]:
    """Processor seconds of each of a few postings to pools of their own."""
    seconds = []
    for number in range(POSTINGS):
        start = time.process_time()
        ledger.post(f"pool {number}", Posting(f"{number:064x}", "EUR", {"ann": 600, "bob": 400}))
        seconds.append(time.process_time() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coalitions", type=int, default=1000)
    coalitions = parser.parse_args().coalitions
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(f"sqlite:///{Path(folder) / 'royalty.db'}")
        fill(engine, coalitions)
        seconds = posting_seconds(Ledger(engine))
    print(f"{coalitions} coalitions: " + ", ".join(f"{each:.3f}" for each in seconds) + " s")


if __name__ == "__main__":
    main()
