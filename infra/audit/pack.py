"""Write an audit pack: the whole ledger with what it rests on, its signatures, a verifier and a page, as files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from royalty.infra.audit import verifier
from royalty.infra.audit.checkpoints import WRITERS, Notary
from royalty.infra.audit.receipts import Receipts
from royalty.infra.audit.signing import public_keys
from royalty.infra.ledger.acts import Act, read_acts
from royalty.infra.ledger.book import CASH, Page
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.verification import FIRST_PART, verified_pages
from royalty.infra.stores.artifacts import ArtifactStore, StoreError
from royalty.infra.stores.chain import ACT_PARTS, HEADER, PARTS, entry_lines
from royalty.infra.stores.database import reading
from royalty.infra.stores.keys import canonical
from royalty.infra.stores.lineage import row_content
from royalty.infra.stores.links import link_signatures
from royalty.infra.stores.tables import CoalitionRow, EvidenceRow, MeasurementRow, PolicyRow, StageRow

FORMAT = 3
"""Version of the layout of a pack."""
AT_ONCE = 5_000
"""Keys in one query, and lines in one piece of a file."""
VERIFIER = "verify.py"


@dataclass(frozen=True)
class Packed:
    """A written pack.

    Attributes:
        statements, entries: how many it holds.
        head: hash of the last statement.
        missing: digests of tables that are not in this home, so not in the pack.
        acts: how many it holds, of cases, opt-outs and approvals.
        acts_head: hash of the last act.
    """

    path: str
    statements: int
    entries: int
    head: str
    missing: tuple[str, ...]
    acts: int
    acts_head: str


@dataclass(frozen=True)
class ShownStatement:
    """A statement as the page of a pack shows it.

    Attributes:
        amount, paid, held: in minor units of the currency.
    """

    position: int
    id: str
    date: str
    pool: str
    kind: str
    currency: str
    amount: int
    paid: int
    held: int
    hash: str


@dataclass(frozen=True)
class AuditPage:
    """What the page of a pack shows.

    Attributes:
        head: hash of the last statement.
        acts, acts_head: number of acts, and hash of the last.
        checkpoints: number of statements, time and key of each signed checkpoint.
        missing: digests of tables that are not in the pack.
    """

    head: str
    entries: int
    statements: tuple[ShownStatement, ...]
    checkpoints: tuple[tuple[int, str, str], ...]
    missing: tuple[str, ...]
    acts: int
    acts_head: str


class Target(Protocol):
    """A place that takes files."""

    def write(self, name: str, pieces: Iterable[bytes]) -> None: ...


def write_pack(
    path: Path, ledger: Ledger, artifacts: ArtifactStore, notary: Notary, render: Callable[[AuditPage], str]
) -> Packed:
    """Write the pack of a ledger, which is verified meanwhile.

    Args:
        path: a new folder, or a new file whose name ends with `.zip`.
        render: makes the HTML page of the pack.

    Raises:
        LedgerBroken: the ledger does not verify.
        ActsBroken: the acts do not.
        StoreError: the path is there already, or cannot be written.
    """
    with _target(path) as target, reading(ledger.engine) as session:
        headers, shown, entries, tables, keys = list[bytes](), list[ShownStatement](), 0, dict[str, str](), set[str]()
        signatures = link_signatures(session, "statements")
        for page in verified_pages(session, ledger.kept()):
            lines, _ = entry_lines(line[FIRST_PART:] for line in page.lines)
            pieces = ("".join(lines[start : start + AT_ONCE]).encode() for start in range(0, len(lines), AT_ONCE))
            target.write(verifier.ENTRIES.format(page.statement.position), pieces)
            headers.append(_header(page, signatures.get(page.statement.position)))
            shown.append(_shown(page))
            entries += len(lines)
        target.write("statements.jsonl", headers)
        acts = read_acts(session, ledger.witness)  # after the statements, which name acts that were written before them
        acts_head = acts[-1].hash if acts else verifier.GENESIS
        signatures = link_signatures(session, "acts")
        target.write("acts.jsonl", [_act(act, signatures.get(act.position)) for act in acts])
        for policy in session.scalars(select(PolicyRow)):
            target.write(f"policies/{policy.digest}.json", [canonical(policy.terms).encode()])
        for evidence in session.scalars(select(EvidenceRow)):
            target.write(f"evidence/{evidence.digest}.json", [canonical(evidence.content).encode()])
            keys |= evidence.content.get("rows", {}).keys()
            tables |= _tables(evidence.content)
        target.write("rows.jsonl", _rows(session, sorted(keys)))
        missing = _write_tables(target, artifacts, tables)
        _write_signatures(target, notary)
        for path in Receipts(notary).files():
            if path.parent == notary.folders[0]:
                target.write(f"receipts/{path.name}", [path.read_bytes()])
        head = shown[-1].hash if shown else verifier.GENESIS
        keys_shown = [(checkpoint.position, checkpoint.time, checkpoint.key) for _, checkpoint in notary.checkpoints()]
        about = AuditPage(head, entries, tuple(shown), tuple(keys_shown), tuple(missing), len(acts), acts_head)
        target.write("index.html", [render(about).encode()])
        target.write(VERIFIER, [Path(verifier.__file__).read_bytes()])
        target.write("pack.json", [canonical({"format": FORMAT, "statements": len(headers)}).encode()])
    return Packed(str(path), len(headers), entries, head, tuple(missing), len(acts), acts_head)


def _header(page: Page, signature: tuple[str, str] | None) -> bytes:
    row, pool = page.statement, page.pool
    parts = ("version", *PARTS) if row.version == 1 else HEADER
    record = {
        "statement": {part: getattr(row, part) for part in parts},
        "pool": {part: getattr(pool, part) for part in ("name", "period", "currency")},
        "previous": row.previous,
        "hash": row.hash,
        "signature": signature,
    }
    return canonical(record).encode() + b"\n"


def _act(act: Act, signature: tuple[str, str] | None) -> bytes:
    content = {part: getattr(act, part) for part in ACT_PARTS}
    record = {"act": content, "previous": act.previous, "hash": act.hash, "signature": signature}
    return canonical(record).encode() + b"\n"


def _shown(page: Page) -> ShownStatement:
    """A statement as the page shows it."""
    row, sums = page.statement, dict[str, int]()
    for kind, amount in ((line.kind, line.amount_minor) for line in page.lines):
        sums[kind] = sums.get(kind, 0) + amount
    currency = page.pool.currency if page.pool is not None else "XXX"
    paid, held = sum(sums.get(kind, 0) for kind in CASH), sums.get("held", 0)
    pool = " ".join(filter(None, (page.pool.name, page.pool.period))) if page.pool is not None else row.pool
    shown = row.position, row.id, row.created_at[:10], pool, row.kind, currency, row.amount_minor, paid, held, row.hash
    return ShownStatement(*shown)


def _tables(evidence: Mapping[str, Any]) -> dict[str, str]:
    """Names of the files of the tables that a statement rests on, by digest."""
    named = {"parquet": (evidence.get("credit") or {}).get("table")}
    named["csv"] = (evidence.get("division") or {}).get("payout")
    return {digest: f"tables/{digest}.{ending}" for ending, digest in named.items() if digest}


def _write_tables(target: Target, artifacts: ArtifactStore, tables: Mapping[str, str]) -> list[str]:
    missing = []
    for digest, name in sorted(tables.items()):
        if artifacts.holds(digest):
            target.write(name, [artifacts.get(digest)])
        else:
            missing.append(digest)
    return missing


def _write_signatures(target: Target, notary: Notary) -> None:
    for path, _ in notary.checkpoints():
        for file in (path, path.with_suffix(".tsr")):
            if file.exists() and file.parent == notary.folders[0]:
                target.write(f"checkpoints/{file.name}", [file.read_bytes()])
    for key in sorted(notary.ring.folder.glob("*")):
        if key.name == "successions.json":
            target.write(f"keys/{key.name}", [key.read_bytes()])
    for folder, publics in (("keys", notary.ring.publics), ("writers", public_keys(notary.root / WRITERS))):
        for identity, public in publics.items():
            if "BEGIN PUBLIC KEY" in public:  # not whatever else somebody put there, such as a private key
                target.write(f"{folder}/{identity}.pem", [public.encode()])


def _rows(session: Session, keys: list[str]) -> Iterator[bytes]:
    kinds: tuple[type[Any], ...] = (StageRow, CoalitionRow, MeasurementRow)
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        for kind in kinds:
            for row in session.scalars(select(kind).where(kind.key.in_(some)).order_by(kind.key)):
                yield canonical([row.key, row_content(row)]).encode() + b"\n"


@contextmanager
def _target(path: Path) -> Iterator[Target]:
    """A new folder or zip file; one that is not complete is named so."""
    if path.exists():
        raise StoreError(f"an audit pack is written to a new place, and {path} is there; name another one")
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zip":
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
                yield _Zip(archive)
        else:
            partial.mkdir(mode=0o700)
            yield _Folder(partial)
        partial.rename(path)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot write the audit pack {path}: {error}; name a new file or folder") from error


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        with self.archive.open(name, "w", force_zip64=True) as stream:
            for piece in pieces:
                stream.write(piece)


class _Folder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        path = self.folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with path.open("wb") as stream:
            for piece in pieces:
                stream.write(piece)
