"""The stores of one `ROYALTY_HOME`, opened once per process."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from royalty.infra.audit.checkpoints import Notary
from royalty.infra.ledger.acts import Acts
from royalty.infra.ledger.approvals import Approvals
from royalty.infra.ledger.cases import Cases
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.processes.machine import check_answers
from royalty.infra.settings import Settings, masked
from royalty.infra.stores.artifacts import ArtifactStore, StoreError, open_artifacts, write_whole
from royalty.infra.stores.database import open_database
from royalty.infra.stores.embeddings import EmbeddingStore
from royalty.infra.stores.keys import SOURCES
from royalty.infra.stores.lineage import Lineage
from royalty.infra.stores.links import sign_earlier_links
from royalty.infra.stores.runstore import RunStore

FREE_SPACE = 256 * 2**20
"""Bytes that must be free before a run starts: models, tables, and the databases of both servers."""

KEPT = {
    "approvals", "artifacts", "attribution", "audit", "cache", "cases", "checkpoints", "embeddings", "indexes",
    "locks", "mlflow", "optouts", "payouts", "prefect", "runs", "statements", "weights",
}  # fmt: skip
"""Folders of a home; its other files are those of `royalty.db`."""


@dataclass(frozen=True)
class Workspace:
    root: Path
    artifacts: ArtifactStore
    embeddings: EmbeddingStore
    runs: RunStore
    ledger: Ledger
    lineage: Lineage
    acts: Acts
    cases: Cases
    approvals: Approvals

    def has_files_of(self, key: str) -> bool:
        """Whether all files that a stage made, by its key, are in its store."""
        made = [edge.child for edge in self.lineage.children([key]) if edge.run == key]
        return self.keeps(made) == set(made)

    def keeps(self, digests: Collection[str]) -> set[str]:
        """The digests that are stored artifacts or keys of rows."""
        artifacts = self.artifacts.held(digests)
        return artifacts | self.lineage.known_rows([digest for digest in digests if digest not in artifacts])


@lru_cache
def open_workspace(settings: Settings) -> Workspace:
    """Open the stores, and create those that are missing."""
    root = settings.root
    make_home(root)
    SOURCES.open(root / "cache" / "sources.json")
    engine = open_database(settings.run_store_url)
    stores = open_artifacts(root, settings.artifacts), EmbeddingStore(root / "embeddings")
    signer = notary(settings)
    runs, ledger, lineage = RunStore(engine, signer), Ledger(engine, signer), Lineage(engine)
    with suppress(StoreError):  # whoever has no key may read; writing raises it
        runs.records.prepare()
        sign_earlier_links(engine, signer)
    acts, cases, approvals = Acts(engine, signer), Cases(engine, signer), Approvals(engine, signer)
    return Workspace(root, *stores, runs, ledger, lineage, acts, cases, approvals)


def notary(settings: Settings) -> Notary:
    """What signs and keeps checkpoints of the ledger of these settings, and signs the records of rows."""
    key, elsewhere = settings.signing_key.get_secret_value(), settings.checkpoints
    return Notary(
        settings.root / "audit",
        key,
        None if elsewhere is None else elsewhere.expanduser().absolute(),
        settings.timestamp_url,
        settings.signing_password.get_secret_value(),
    )


def place_of(settings: Settings) -> str:
    """The locations of the stores, without a password."""
    return f"{settings.artifacts or settings.root} with {masked(settings.run_store_url)}"


def check_place(settings: Settings, place: str) -> None:
    """Check that a worker, possibly on another machine, uses the same stores as its flow.

    Raises:
        StoreError: its stores are in another place, so the flow would not find its results.
    """
    if place_of(settings) != place:
        raise StoreError(
            f"a worker must use the stores of its flow, {place}, but this worker uses {place_of(settings)}. Start the "
            "worker with the flow's ROYALTY_DATABASE_URL, and with its ROYALTY_ARTIFACTS or with its ROYALTY_HOME in a "
            "folder that both machines mount"
        )


def make_home(root: Path) -> None:
    """Create the home, readable for its owner only: it contains images, shares and payouts of people.

    The permissions of an existing home are restricted to the owner if it belongs to this user and contains nothing
    else. They are not changed if the group may write, because a team shares such a home; `royalty doctor` reports a
    home that all users may read.

    Raises:
        StoreError: the home cannot be created.
    """
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = root.stat()
        others = {path.name for path in root.iterdir() if not path.name.startswith((".", "royalty.db"))} - KEPT
        if state.st_uid == os.geteuid() and not others and not state.st_mode & (stat.S_IWGRP | stat.S_ISVTX):
            root.chmod(0o700)
    except OSError as error:
        raise StoreError(f"cannot write {root}: {error.strerror}; set ROYALTY_HOME to a writable folder") from error


def check_home(settings: Settings) -> None:
    """Check, before any work, that the home can be written, its disk has room, its store can be used, it can sign, and
    the cluster of the task runner answers.

    Raises:
        StoreError: the home cannot be written, the disk is nearly full, the store of artifacts cannot be used, the key
            that signs what is written is missing, or nothing answers at the address of the task runner.
    """
    root = settings.root
    make_home(root)
    probe = root / ".writable"
    write_whole(probe, b"")
    probe.unlink(missing_ok=True)
    free = shutil.disk_usage(root).free
    if free < FREE_SPACE:
        raise StoreError(
            f"a run needs {FREE_SPACE // 2**20} MiB free in {root}, but only {free // 2**20} MiB are free. Free some "
            "space, or set ROYALTY_HOME to a folder on a larger disk"
        )
    open_artifacts(root, settings.artifacts).check()
    notary(settings).prepare()
    if "://" in settings.runner:
        try:
            check_answers(settings.runner)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"ROYALTY_RUNNER is the address of a cluster that answers, and {settings.runner} does not: {error}. "
                "Start its scheduler, correct the address, or set ROYALTY_RUNNER=threads"
            ) from error
