"""The log of attributions: rows are added before they are answered, and never changed.

One SQLite file. Each row is on disk when `append` returns (`synchronous=FULL`), so that a process that is killed loses
nothing that it answered. A row's hash covers the row and the hash before it, as the statements of the ledger do. The
head, position and hash of the last row, is kept beside the rows, so that last rows that are gone are noticed. Payouts
by use keep it in the ledger (`LogHead`), where whoever can rewrite this file cannot follow.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.keys import canonical
from royalty.infra.stores.private import keep_private

By = Literal["contributor", "prompt", "model", "period", "client"]

SCHEMA = """
create table if not exists attributions (
    position integer primary key,
    id text not null unique,
    client text not null,
    caller text not null,
    body text not null,
    at text not null,
    model text not null,
    version text not null,
    prompt text not null,
    revenue text,
    answer text not null,
    previous text not null,
    hash text not null,
    unique (client, caller)
);
create table if not exists shares (
    position integer not null references attributions (position),
    contributor text not null,
    share real not null,
    primary key (position, contributor)
) without rowid;
create table if not exists behind (
    item text not null,
    position integer not null references attributions (position),
    share real not null,
    primary key (item, position)
) without rowid;
create table if not exists head (
    one integer primary key check (one = 1),
    position integer not null,
    hash text not null
);
insert or ignore into head values (1, 0, '');
create index if not exists attributions_at on attributions (at, model);
create trigger if not exists attributions_keep before update on attributions
    begin select raise(abort, 'the log of attributions is only added to'); end;
create trigger if not exists attributions_stay before delete on attributions
    begin select raise(abort, 'the log of attributions is only added to'); end;
create trigger if not exists shares_keep before update on shares
    begin select raise(abort, 'the log of attributions is only added to'); end;
create trigger if not exists shares_stay before delete on shares
    begin select raise(abort, 'the log of attributions is only added to'); end;
create trigger if not exists behind_keep before update on behind
    begin select raise(abort, 'the log of attributions is only added to'); end;
create trigger if not exists behind_stay before delete on behind
    begin select raise(abort, 'the log of attributions is only added to'); end;
"""

GROUPS = {
    "contributor": "shares.contributor",
    "prompt": "attributions.prompt",
    "model": "attributions.model || ' ' || attributions.version",
    "period": "substr(attributions.at, 1, 7)",
    "client": "attributions.client",
}


@dataclass(frozen=True, order=True)
class LogHead:
    """Where the log ended: position and hash of a row. The hash is over all rows up to it."""

    position: int
    hash: str


class OtherBody(ValueError):
    """The caller's id belongs to another request."""


@dataclass(frozen=True)
class Logged:
    """An attribution in the log.

    Attributes:
        position: from 1.
        id: of the attribution, 32 hexadecimal digits.
        client: name of the key that it was asked for with.
        caller: the caller's own id.
        body: digest of the request.
        at: time of the generation, UTC, ISO 8601.
        revenue: what the generation earned, as a decimal number; None if it was not said.
        shares: by contributor; empty if the image is not attributed.
        answer: what was answered.
    """

    position: int
    id: str
    client: str
    caller: str
    body: str
    at: str
    model: str
    version: str
    prompt: str
    revenue: str | None
    answer: Mapping[str, Any]
    hash: str

    @property
    def shares(self) -> Mapping[str, float]:
        return {name: float(share) for name, share in self.answer["contributors"].items()}


class UsageLog:
    """The log in a file; several processes may append to it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        self._own = threading.local()
        try:
            self._connection.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise StoreError(f"cannot open the log {file}: {error}. Move it away, or restore it") from error

    def find(self, client: str, caller: str) -> Logged | None:
        """The attribution that a client asked for by its own id."""
        return next(self._rows("client = ? and caller = ?", client, caller), None)

    def get(self, identity: str) -> Logged | None:
        """The attribution with an id."""
        return next(self._rows("id = ?", identity), None)

    def between(self, begin: str, end: str, *, model: str, version: str) -> Iterator[Logged]:
        """Attributions of generations of a model from `begin` up to, and without, `end`, in the order of the log."""
        return self._rows("at >= ? and at < ? and model = ? and version = ?", begin, end, model, version)

    def append(
        self,
        *,
        client: str,
        caller: str,
        body: str,
        at: str,
        model: str,
        version: str,
        prompt: str,
        revenue: str | None,
        answer: Mapping[str, Any],
    ) -> Logged:
        """Write an attribution to disk, unless the client has asked for it already; then return what is there.

        Raises:
            OtherBody: the client's id belongs to another request.
            StoreError: the disk is full, the file cannot be written, or its last rows are gone; nothing was added.
        """
        with self._transaction() as connection:
            known = next(self._rows("client = ? and caller = ?", client, caller), None)
            if known is not None:
                return same(known, body)
            head = self._head()
            position, previous = head.position + 1, head.hash
            fields = {
                "id": identity_of(client, caller), "client": client, "caller": caller, "body": body, "at": at,
                "model": model, "version": version, "prompt": prompt, "revenue": revenue,
                "answer": json.dumps(answer, separators=(",", ":")),
            }  # fmt: skip
            logged: dict[str, Any] = {"position": position, **fields, "previous": previous}
            logged["hash"] = _hash(logged)
            marks = ", ".join(f":{name}" for name in logged)
            connection.execute(f"insert into attributions ({', '.join(logged)}) values ({marks})", logged)
            shares = [(position, name, share) for name, share in answer["contributors"].items()]
            connection.executemany("insert into shares values (?, ?, ?)", shares)
            items = [(item["id"], position, item["share"]) for item in answer.get("items", ())]
            connection.executemany("insert into behind values (?, ?, ?)", items)
            connection.execute("update head set position = ?, hash = ?", [position, logged["hash"]])
        kept = {name: logged[name] for name in Logged.__dataclass_fields__}
        return Logged(**{**kept, "answer": json.loads(logged["answer"])})

    def totals(
        self, by: By, *, begin: str = "", end: str = "~", model: str | None = None, client: str | None = None
    ) -> list[dict[str, Any]]:
        """Sums over the generations of a time, highest first.

        Args:
            by: what is summed over; `period` is the month.
            model, client: of these generations only.

        Returns:
            For each group: its name, the number of generations, and the sum of shares. By contributor, a generation
            counts for each that has a share of it.
        """
        group = GROUPS[by]
        where, values = "at >= ? and at < ?", [begin, end]
        for column, value in (("model", model), ("client", client)):
            if value is not None:
                where, values = f"{where} and {column} = ?", [*values, value]
        rows = self._connection.execute(
            f"select {group}, count(distinct attributions.position), coalesce(sum(shares.share), 0) from attributions "
            f"{'' if by == 'contributor' else 'left '}join shares on shares.position = attributions.position "
            f"where {where} group by 1 order by 3 desc, 1",
            values,
        )
        return [{by: name, "generations": count, "share": share} for name, count, share in rows]

    def behind(self, item: str) -> list[tuple[Logged, float]]:
        """Attributions that name a training image, with its share of each, highest first."""
        rows = self._connection.execute(
            "select position, share from behind where item = ? order by share desc, position", [item]
        ).fetchall()
        return [(next(self._rows("position = ?", position)), share) for position, share in rows]

    def count(self) -> int:
        return int(self._connection.execute("select count(*) from attributions").fetchone()[0])

    def problem(self, kept: Iterable[LogHead] = ()) -> str | None:
        """Verify all hashes, the sums that are kept beside the rows, and that no last row is gone.

        Args:
            kept: where the log ended earlier, as it was kept elsewhere.

        Returns:
            What does not fit, or None.
        """
        with self._unchanging():
            return self._problem(kept)

    def _problem(self, kept: Iterable[LogHead]) -> str | None:
        previous, position, expected = "", 0, dict[int, set[str]]()
        for head in kept:
            expected.setdefault(head.position, set()).add(head.hash)
        names = [*(name for name in Logged.__dataclass_fields__ if name != "hash"), "previous", "hash"]
        for row in self._connection.execute(f"select {', '.join(names)} from attributions order by position"):
            logged = dict(zip(names, row, strict=True))
            said = logged.pop("hash")
            changed = logged["previous"] != previous or logged["position"] != position + 1 or _hash(logged) != said
            if changed or self._shares(logged["position"]) != json.loads(logged["answer"])["contributors"]:
                return f"attribution {logged['id']} at position {logged['position']} of {self.file} has changed"
            previous, position = said, logged["position"]
            if expected.get(position, {said}) != {said}:
                return f"{self.file} was rewritten: a payout was made by another row at position {position}"
        last = max([position, *expected])
        if last > position:
            return f"{self.file} ends at position {position}, and a payout was made by the row at position {last}"
        return self._cut(LogHead(position, previous))

    def _cut(self, end: LogHead) -> str | None:
        head = self._kept_head()
        if end == head:
            return None
        return f"{self.file} ends at position {end.position}, and its head is at {head.position}: last rows are gone"

    def _kept_head(self) -> LogHead:
        row = self._connection.execute("select position, hash from head").fetchone()
        return LogHead(*row) if row else LogHead(0, "")

    def _head(self) -> LogHead:
        """Where the log ends.

        Raises:
            StoreError: its last rows are gone.
        """
        row = self._connection.execute(
            "select position, hash from attributions order by position desc limit 1"
        ).fetchone()
        end = LogHead(*row) if row else LogHead(0, "")
        if problem := self._cut(end):
            raise StoreError(f"attributions are added to a whole log, and {problem}; restore it from a backup")
        return end

    def _shares(self, position: int) -> dict[str, float]:
        return dict(
            self._connection.execute("select contributor, share from shares where position = ?", [position]).fetchall()
        )

    def _rows(self, where: str, *values: Any) -> Iterator[Logged]:
        names = list(Logged.__dataclass_fields__)
        rows = self._connection.execute(
            f"select {', '.join(names)} from attributions where {where} order by position", values
        )
        for row in rows:
            fields = dict(zip(names, row, strict=True))
            yield Logged(**{**fields, "answer": json.loads(fields["answer"])})

    @property
    def _connection(self) -> sqlite3.Connection:
        """The connection of this thread."""
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            keep_private(self.file)
            connection = self._own.connection = sqlite3.connect(self.file, timeout=60, isolation_level=None)
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=full")
        return connection

    @contextmanager
    def _unchanging(self) -> Iterator[None]:
        """Reads in this block see one state of the log, while others add to it."""
        self._connection.execute("begin")
        try:
            yield
        finally:
            self._connection.execute("commit")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection
            connection.execute("begin immediate")
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise StoreError(
                f"cannot write the log {self.file}: {error}. Free some space; nothing was added, and what was answered "
                "is kept"
            ) from error


def same(known: Logged, body: str) -> Logged:
    """An attribution that is asked for again.

    Raises:
        OtherBody: by another request.
    """
    if known.body != body:
        raise OtherBody(
            f"an id stands for one request: {known.caller!r} was attributed on other data, as {known.id}. Send the "
            "same data, or another id"
        )
    return known


def identity_of(client: str, caller: str) -> str:
    """Id of the attribution that a client asks for by its own id."""
    return hashlib.sha256(f"{client}\n{caller}".encode()).hexdigest()[:32]


def _hash(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(dict(fields)).encode()).hexdigest()
