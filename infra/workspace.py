"""The stores of one `ROYALTY_HOME`, opened once a process."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.settings import Settings, masked
from royalty.infra.stores.artifacts import ArtifactStore, StoreError, write_whole
from royalty.infra.stores.database import open_database
from royalty.infra.stores.embeddings import EmbeddingStore
from royalty.infra.stores.lineage import Lineage
from royalty.infra.stores.runstore import RunStore

FREE_SPACE = 256 * 2**20
"""Bytes that must be free before a run starts: models, tables, and the databases of both servers."""

KEPT = {"artifacts", "checkpoints", "embeddings", "locks", "mlflow", "payouts", "prefect", "runs", "weights"}
"""Folders of a home; the rest of it are the files of `royalty.db`."""


@dataclass(frozen=True)
class Workspace:
    root: Path
    artifacts: ArtifactStore
    embeddings: EmbeddingStore
    runs: RunStore
    ledger: Ledger
    lineage: Lineage

    def keeps(self, digests: Collection[str]) -> set[str]:
        """Which of these are artifacts, or keys of rows."""
        kept = {digest for digest in digests if self.artifacts.path(digest).exists()}
        return kept | self.lineage.known_rows([digest for digest in digests if digest not in kept])


@lru_cache
def open_workspace(settings: Settings) -> Workspace:
    """Open the stores, creating what is missing."""
    root = settings.root
    make_home(root)
    engine = open_database(settings.run_store_url)
    stores = ArtifactStore(root / "artifacts"), EmbeddingStore(root / "embeddings")
    return Workspace(root, *stores, RunStore(engine), Ledger(engine), Lineage(engine))


def place_of(settings: Settings) -> str:
    """Where the stores of these settings are, without a password."""
    return f"{settings.root} with {masked(settings.run_store_url)}"


def check_place(settings: Settings, place: str) -> None:
    """Check that a worker, which may be on another machine, has the stores of the flow that it works for.

    Raises:
        StoreError: it has others, in which nothing of the flow is.
    """
    if place_of(settings) != place:
        raise StoreError(
            f"a worker keeps what it makes where its flow looks for it: in {place}; on this worker it would be "
            f"{place_of(settings)}. Start the worker with the flow's ROYALTY_HOME, on a folder that both machines "
            "mount, and its ROYALTY_DATABASE_URL"
        )


def make_home(root: Path) -> None:
    """Make the home, for its owner alone: images, shares and payouts of people are in it.

    One that is there, is this user's and holds nothing else is narrowed to that. It stays as it is if its group may
    write, since a team shares it; `royalty doctor` tells of a home that everybody may read.

    Raises:
        StoreError: it cannot be made.
    """
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = root.stat()
        others = {path.name for path in root.iterdir() if not path.name.startswith((".", "royalty.db"))} - KEPT
        if state.st_uid == os.geteuid() and not others and not state.st_mode & (stat.S_IWGRP | stat.S_ISVTX):
            root.chmod(0o700)
    except OSError as error:
        raise StoreError(
            f"cannot write {root}: {error.strerror}; set ROYALTY_HOME to a folder that can be written"
        ) from error


def check_home(root: Path) -> None:
    """Check, before any work, that the home can be written and its disk has room.

    Raises:
        StoreError: it cannot, or it has not.
    """
    make_home(root)
    probe = root / ".writable"
    write_whole(probe, b"")
    probe.unlink(missing_ok=True)
    free = shutil.disk_usage(root).free
    if free < FREE_SPACE:
        raise StoreError(
            f"a run needs {FREE_SPACE // 2**20} MiB free in {root}, and {free // 2**20} MiB are. Free some space or "
            "set ROYALTY_HOME to a folder on a larger disk"
        )
