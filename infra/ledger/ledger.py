"""The ledger: how each pool was divided, and what was kept for later. Rows are only added.

Double entry: a statement moves money from its pool to accounts, so its entries sum to zero. The database rejects
statements that do not, and any change of existing rows (`royalty.infra.stores.migrations.triggers`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from sqlalchemy.orm import Session

from royalty.infra.ledger.acts import writing
from royalty.infra.ledger.book import listing, pages
from royalty.infra.ledger.cases import open_cases
from royalty.infra.ledger.change import Corrections, Entry, PoolChange, people_of
from royalty.infra.ledger.evidence import store_evidence
from royalty.infra.ledger.planning import change_of, plan_entries
from royalty.infra.ledger.posting_rules import (
    check_covered,
    check_no_case,
    check_returns,
    check_same,
    check_source,
    check_takes_nothing_back,
    label,
)
from royalty.infra.ledger.postings import LedgerConflict, Posting
from royalty.infra.ledger.reading import LedgerReader, latest_credit, unknown_statement
from royalty.infra.ledger.verification import Book
from royalty.infra.stores.chain import ENTRY_PARTS, VERSION, body_of, header_hash, pool_key
from royalty.infra.stores.database import insert_rows, reading, writing_alone
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.links import sign_link
from royalty.infra.stores.records import Records
from royalty.infra.stores.tables import (
    CreditTableRow,
    PolicyRow,
    PoolRow,
    StatementRow,
    now,
)

EntryValues = tuple[str, str, str, int, str]
"""Values of an entry in the order of `ENTRY_PARTS`."""


class Ledger(LedgerReader):
    """Statements by pool and period. A pool pays one valuation at a time: a later one reverses the earlier in full.

    Statements are ordered by their position in the chain; a clock that goes back affects only the recorded times.
    """

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that excludes other postings; the heads of all new statements are kept after it."""
        if self.witness is not None:
            self.witness.prepare()
            Records(self.engine, self.witness).prepare()
        with writing(self.engine, self.witness) as session:
            yield session
        if self.witness is not None:
            self.witness.publish(self.heads(after=self.witness.latest()))

    def post(
        self,
        pool: str,
        posting: Posting,
        *,
        period: str = "",
        brought: Mapping[str, int] | None = None,
        corrections: Corrections = "reverse",
        replace: bool = False,
    ) -> str:
        """Record the division of a pool; posting the same division again changes nothing.

        Args:
            brought: result of `accounts` for these contributors when the division was computed.
            corrections: what happens to a pool that was divided by other credit: `reverse` takes that division back and
                pays this one; `carry` leaves it paid, and puts the differences on the contributors' accounts, from
                which later payouts are paid or reduced.
            replace: take money back from contributors, return to an earlier credit table, and replace what the pool
                paid on another run's credit.

        Returns:
            The ID of the statement.

        Raises:
            TakesBack: a contributor would lose money; or the pool would return to an earlier credit table.
            OthersPool: the pool was divided by another run's credit.
            LedgerConflict: this pool and valuation were posted with other amounts; the pool is in another currency;
                accounts changed since the division was computed; more is paid than the pool and these accounts hold.
            LedgerBroken: the ledger does not verify.
        """
        with self.writing() as session:
            book = self._book(session, pool, period)
            row = _pool(session, pool, period, posting.currency)
            known, current = book.by(posting.valuation), book.current
            if known is not None:
                check_same(row, book, known, posting)
                return known.id
            if current is not None and not replace:
                check_source(row, current, posting)
            accounts = book.brought(posting.currency, posting.amounts)
            if accounts != dict(brought or {}):
                raise LedgerConflict(
                    f"another pool changed the accounts while {pool!r} was divided; run again to divide with the "
                    "current accounts"
                )
            check_covered(posting, accounts)
            kind, planned = plan_entries(book, posting, corrections)
            if current is not None and not replace:
                check_returns(row, book, posting)
                check_takes_nothing_back(row, current, people_of(book.money, planned))
            currency = row.currency
            entries = [(name, kind, valuation, amount, currency) for kind, name, valuation, amount in planned]
            policy, latest = store_policy(session, posting.terms), book.latest
            return close_statement(
                session,
                book,
                row,
                entries,
                id=identity_of(row.id, kind, book.entry_valuation(posting.valuation)),
                kind=kind,
                valuation=posting.valuation,
                source=posting.source,
                policy=policy,
                amount_minor=posting.gross if kind == "division" else 0,
                replaces=latest.id if latest is not None and kind == "division" else None,
                evidence=store_evidence(session, posting.evidence),
            )

    def preview(
        self, pool: str, posting: Posting, *, period: str = "", corrections: Corrections = "reverse"
    ) -> PoolChange:
        """What `post` with these arguments would change; nothing is written.

        Raises:
            LedgerConflict: this pool and valuation were posted with other amounts.
            LedgerBroken: the ledger does not verify.
        """
        with reading(self.engine) as session:
            book = self._book(session, pool, period)
            row, known = session.get(PoolRow, pool_key(pool, period)), book.by(posting.valuation)
            if row is not None and known is not None:
                check_same(row, book, known, posting)
            return change_of(book, posting, corrections, pool=pool, period=period, statements=listing(pages(session)))

    def release(
        self,
        pool: str,
        contributors: Collection[str],
        *,
        period: str = "",
        withholding: Mapping[str, Fraction] | None = None,
        evidence: Mapping[str, Any] | None = None,
        approved: str | None = None,
    ) -> str:
        """Pay the money that a pool holds for these contributors; repeating a release changes nothing.

        Args:
            withholding: share of a payment, in [0, 1], that is withheld as tax, by contributor.
            evidence: what the release rests on; see `royalty.infra.ledger.evidence`.
            approved: hash of the act by which a second person approved it.

        Returns:
            The ID of the statement.

        Raises:
            LedgerConflict: the pool has not been divided, or holds nothing for one of them; or an open case holds it.
            LedgerBroken: the ledger does not verify.
        """
        names = sorted(set(contributors))
        with self.writing() as session:
            book = self._book(session, pool, period)
            row, latest = session.get(PoolRow, pool_key(pool, period)), book.latest
            if row is None or latest is None:
                raise LedgerConflict(f"only a divided pool has held money, and {pool!r} was not divided; pay it first")
            valuation = next(entry.valuation for entry in book.posted(latest))
            identity = identity_of(row.id, "release", valuation, *names)
            if book.knows(identity):
                return identity
            held = {name: money.held for name, money in book.money.items() if money.held > 0}
            if unknown := [name for name in names if name not in held]:
                raise LedgerConflict(
                    f"only held money can be released: {label(row)} holds nothing for "
                    f"{', '.join(map(repr, unknown))}; it holds money for {', '.join(held) or 'nobody'}"
                )
            check_no_case(open_cases(session, self.witness), names)
            entries = [
                entry_row(row, entry)
                for name in names
                for entry in released(name, valuation, held[name], (withholding or {}).get(name))
            ]
            return close_statement(
                session,
                book,
                row,
                entries,
                id=identity,
                kind="release",
                valuation=latest.valuation,
                source=latest.source,
                policy=store_policy(session, {"approved": approved} if approved else None),
                evidence=store_evidence(session, evidence),
            )

    def record_export(self, statement: str, evidence: Mapping[str, Any]) -> str:
        """Record the payment files of a statement in the chain; repeating a record changes nothing.

        Returns:
            The ID of the record, a statement of kind `export` without entries.

        Raises:
            LedgerConflict: no statement has this ID.
            LedgerBroken: the ledger does not verify.
        """
        with self.writing() as session:
            exported = session.get(StatementRow, statement)
            if exported is None:
                raise unknown_statement(statement)
            pool = session.get_one(PoolRow, exported.pool)
            book = Book.read(session, pool.id, self.kept(), self.witness)
            identity = identity_of(pool.id, "export", statement, digest_of(evidence))
            if book.knows(identity):
                return identity
            return close_statement(
                session,
                book,
                pool,
                [],
                id=identity,
                kind="export",
                valuation=exported.valuation,
                source=exported.source,
                evidence=store_evidence(session, evidence),
            )

    def record_credit(self, run: str, stage: str, digest: str) -> None:
        """Record the credit table of a run, unless it already is the run's latest."""
        records = Records(self.engine, self.witness)
        records.prepare()
        with writing_alone(self.engine) as session:
            latest = session.scalars(latest_credit(run)).first()
            if latest is None or (latest.stage, latest.digest) != (stage, digest):
                credit = CreditTableRow(run=run, stage=stage, digest=digest)
                session.add(credit)
                session.flush()
                records.add(session, credit)


def released(name: str, valuation: str, amount: int, rate: Fraction | None) -> list[Entry]:
    """The entries that pay held money.

    Args:
        rate: share that is withheld as tax; rounded down, as `royalty.models.payout.division` does.
    """
    tax = int(amount * rate) if rate else 0
    moves = {"release": amount - tax, "held-release": -amount, "withheld": tax}
    return [Entry(kind, name, valuation, minor) for kind, minor in moves.items() if minor or kind == "release"]


def identity_of(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _pool(session: Session, name: str, period: str, currency: str) -> PoolRow:
    row = session.get(PoolRow, pool_key(name, period))
    if row is None:
        row = PoolRow(id=pool_key(name, period), name=name, period=period, currency=currency)
        session.add(row)
        session.flush()
    elif (row.name, row.period) != (name, period):
        raise LedgerConflict(
            f"the key of a pool is the hash of its name and period, but the key of {name!r} belongs to pool "
            f"{label(row)}. The database was changed by hand: restore it from a backup, and make no payment from this "
            "one"
        )
    elif row.currency != currency:
        raise LedgerConflict(
            f"a pool has one currency: {label(row)} is in {row.currency}, got {currency}. Name another pool"
        )
    return row


def store_policy(session: Session, terms: Mapping[str, Any] | None) -> str | None:
    if terms is None:
        return None
    digest = digest_of(terms)
    known = session.get(PolicyRow, digest)
    if known is not None and digest_of(known.terms) != digest:
        raise LedgerConflict(
            f"the key of terms is their hash, but the terms {digest[:12]} have changed. The database was changed by "
            "hand: restore it from a backup, and make no payment from this one"
        )
    if known is None:
        session.add(PolicyRow(digest=digest, terms=dict(terms)))
        session.flush()
    return digest


def entry_row(pool: PoolRow, entry: Entry) -> EntryValues:
    return entry.contributor, entry.kind, entry.valuation, entry.amount_minor, pool.currency


def close_statement(session: Session, book: Book, pool: PoolRow, entries: Sequence[EntryValues], **fields: Any) -> str:
    """Write the entries, and then the signed statement, which the database accepts if they sum to zero.

    The book then ends with this statement, so that another one may follow.

    Args:
        fields: columns of the statement; those that are not given are null, and its amount 0.
    """
    place = fields["id"], pool.id
    insert_rows(session.connection(), "entries", ("statement", "pool", *ENTRY_PARTS), place, entries)
    digest, totals = body_of(entries)
    statement = {"source": None, "policy": None, "amount_minor": 0, "replaces": None, "evidence": None} | fields
    statement |= {"version": VERSION, "position": book.position + 1, "created_at": now()}
    statement |= {"body": digest, "totals": totals}
    head = header_hash(statement, vars(pool), book.head)
    session.add(StatementRow(pool=pool.id, previous=book.head, hash=head, **statement))
    sign_link(session, book.seal, "statements", statement["position"], head)
    session.flush()
    book.head, book.position = head, statement["position"]
    return str(fields["id"])
