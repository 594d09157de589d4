"""Empty databases of Prefect and MLflow, made once after installation and copied into each new home.

Their migrations take 20 s of one core for Prefect and 2 s for MLflow.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from royalty.infra.stores.artifacts import write_whole


def template(library: str) -> Path:
    """Where the empty database of the installed version of a library is kept. It may be missing."""
    return Path(sys.prefix) / "var" / "royalty" / f"{library}-{version(library)}.db"


def save_template(library: str, database: Path) -> None:
    """Keep a copy of a library's empty database, which no process is writing."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)  # with what is still in the write-ahead log
        write_whole(template(library), copy.read_bytes())
