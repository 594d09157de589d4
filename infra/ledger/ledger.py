"""The ledger: which pool was divided how, and what was left for later. Rows are only ever added.

Double entry: a statement moves money from its pool to accounts, so that its entries sum to zero. The database
refuses anything else, and any change of what it holds (`royalty.infra.stores.migrations.triggers`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from royalty.infra.ledger.book import as_posted, listing, pages, replaced
from royalty.infra.ledger.posting_rules import check_covered, check_same, named
from royalty.infra.ledger.postings import RELEASED, REVERSALS, LedgerConflict, OthersPool, Posted, Posting, Verified
from royalty.infra.ledger.verification import Book, verified_page, verified_pages, verify
from royalty.infra.stores.chain import pool_key, statement_hash
from royalty.infra.stores.database import lock
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.tables import CreditTable, Entry, Policy, Pool, Statement, now


class Ledger:
    """Statements by pool and period. A pool pays one valuation at a time: a later one reverses the earlier in full.

    Statements are ordered by their position in the chain, so a clock that went back changes nothing but the time
    that a statement says.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def post(
        self,
        pool: str,
        posting: Posting,
        *,
        period: str = "",
        brought: Mapping[str, int] | None = None,
        replace_other_runs: bool = False,
    ) -> str:
        """Record the division of a pool; posting the same again changes nothing.

        Args:
            brought: what `accounts` said of these contributors when the division was made.
            replace_other_runs: take back what the pool paid by another run's credit.

        Returns:
            The id of the statement.

        Raises:
            OthersPool: the pool was paid by another run's credit.
            LedgerConflict: this pool and valuation were posted with other amounts, or were reversed since; the pool
                is in another currency; accounts are not what they were when the division was made; more is paid than
                the pool and these accounts hold.
            LedgerBroken: the ledger does not verify.
        """
        with Session(self.engine) as session, session.begin():
            lock(session.connection())
            book = Book.read(session, pool_key(pool, period))
            row = _pool(session, pool, period, posting.currency)
            latest, known = book.latest, book.division(posting.valuation)
            if known is not None:
                check_same(row, book, known, posting)
                return known.id
            others = latest is not None and None not in (latest.source, posting.source)
            if latest is not None and others and latest.source != posting.source and not replace_other_runs:
                raise OthersPool(
                    f"a pool is divided by one run's credit: {named(row)} was by that of {latest.source!r}, and is "
                    f"asked to be by that of {posting.source!r}. Name another pool, or say that this corrects it "
                    "(`royalty payout --replace`)"
                )
            accounts = book.brought(posting.currency, posting.amounts)
            if accounts != dict(brought or {}):
                raise LedgerConflict(
                    f"accounts changed while {pool!r} was divided, by another pool; run again to divide by what they "
                    "hold now"
                )
            check_covered(posting, accounts)
            entries = [_entry(row, name, posting.valuation, kind, amount) for kind, name, amount in posting.entries]
            if latest is not None:
                entries += [
                    _entry(row, old.contributor, old.valuation, REVERSALS[old.kind], -old.amount_minor)
                    for old in book.posted(latest.valuation)
                ]
            policy = _policy(session, posting.terms)
            identity = _identity(row.id, "division", posting.valuation)
            return _close(
                session,
                book,
                row,
                entries,
                id=identity,
                kind="division",
                valuation=posting.valuation,
                source=posting.source,
                policy=policy,
                amount_minor=-posting.entries[-1][2],
                replaces=None if latest is None else latest.id,
            )

    def release(self, pool: str, contributors: Collection[str], *, period: str = "") -> str:
        """Pay what a pool holds for these contributors; releasing them again changes nothing.

        Returns:
            The id of the statement.

        Raises:
            LedgerConflict: the pool has not been divided, or holds nothing for one of them.
            LedgerBroken: the ledger does not verify.
        """
        names = sorted(set(contributors))
        with Session(self.engine) as session, session.begin():
            lock(session.connection())
            book = Book.read(session, pool_key(pool, period))
            row, latest = session.get(Pool, pool_key(pool, period)), book.latest
            if row is None or latest is None:
                raise LedgerConflict(f"what a pool holds is released, and {pool!r} has not been divided; pay it first")
            posted = book.posted(latest.valuation)
            released = {entry.contributor for entry in posted if entry.kind == "release"}
            held = {entry.contributor: entry.amount_minor for entry in posted if entry.kind == "held"}
            identity = _identity(row.id, "release", latest.valuation, *names)
            if book.knows(identity):
                return identity
            if unknown := [name for name in names if not held.get(name) or name in released]:
                waiting = [name for name, amount in held.items() if amount and name not in released]
                raise LedgerConflict(
                    f"what a pool holds is released, and {named(row)} holds nothing for "
                    f"{', '.join(map(repr, unknown))}; it does for {', '.join(waiting) or 'nobody'}"
                )
            entries = [
                _entry(row, name, latest.valuation, kind, sign * held[name])
                for name in names
                for kind, sign in (("release", 1), ("held-release", -1))
            ]
            return _close(
                session,
                book,
                row,
                entries,
                id=identity,
                kind="release",
                valuation=latest.valuation,
                source=latest.source,
                policy=None,
                amount_minor=0,
                replaces=None,
            )

    def balance(self, pool: str, kind: str = "payment", *, period: str = "") -> dict[str, int]:
        """What each contributor is paid from a pool, or what is held of it, in minor units.

        Args:
            kind: `payment`, `held`, `account`, or one of the pool's own.

        Raises:
            LedgerBroken: the ledger does not verify.
        """
        kinds = [kind] + ([RELEASED[kind]] if kind in RELEASED else [])
        kinds += [REVERSALS[one] for one in kinds]
        with Session(self.engine) as session:
            return Book.read(session, pool_key(pool, period)).sums(kinds)

    def accounts(self, pool: str, currency: str, contributors: Collection[str], *, period: str = "") -> dict[str, int]:
        """What a pool brings forward: minor units that earlier pools left on accounts; negative is owed.

        A pool that has been posted brings forward what it did then, so that dividing it again gives the same.

        Returns:
            Accounts of these contributors that are not zero.

        Raises:
            LedgerBroken: the ledger does not verify.
        """
        with Session(self.engine) as session:
            return Book.read(session, pool_key(pool, period)).brought(currency, contributors)

    def record_credit(self, run: str, stage: str, digest: str) -> None:
        """Record the credit table that a run came to, unless it is the latest of it already."""
        with Session(self.engine) as session, session.begin():
            lock(session.connection())
            latest = session.scalars(_credit_of(run)).first()
            if latest is None or (latest.stage, latest.digest) != (stage, digest):
                session.add(CreditTable(run=run, stage=stage, digest=digest))

    def credit_of(self, wanted: str) -> tuple[str, str] | None:
        """Run, and key of the credit stage, of the latest credit of a run, or of a credit table by its digest."""
        with Session(self.engine) as session:
            row = session.scalars(_credit_of(wanted)).first()
            if row is None and len(wanted) >= 8:
                by_digest = select(CreditTable).where(CreditTable.digest.startswith(wanted, autoescape=True))
                row = session.scalars(by_digest.order_by(CreditTable.id.desc())).first()
            return None if row is None else (row.run, row.stage)

    def credited_runs(self) -> list[str]:
        """Names of the runs that have credit to pay."""
        with Session(self.engine) as session:
            return list(session.scalars(select(CreditTable.run).distinct().order_by(CreditTable.run)))

    def statements(self) -> list[Posted]:
        """All statements, in the order of posting, as they are stored; `verify` says whether they hold."""
        with Session(self.engine) as session:
            return listing(pages(session))

    def verified_statements(self) -> list[Posted]:
        """All statements, in the order of posting.

        Raises:
            LedgerBroken: the ledger does not verify.
        """
        with Session(self.engine) as session:
            return listing(verified_pages(session))

    def statement(self, identity: str) -> Posted:
        """One of them, by its own hash.

        Raises:
            LedgerConflict: there is none of this id.
            LedgerBroken: it does not hold.
        """
        with Session(self.engine) as session:
            page = verified_page(session, identity)
            if page is None:
                raise LedgerConflict(f"a statement is named by its id, got {identity!r}; `royalty ledger` lists them")
            return as_posted(page, replaced(session))

    def verify(self) -> Verified:
        """Walk the chain from its first statement, hashing everything again, and look for entries outside of it."""
        with Session(self.engine) as session:
            return verify(session)


def _identity(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _pool(session: Session, name: str, period: str, currency: str) -> Pool:
    row = session.get(Pool, pool_key(name, period))
    if row is None:
        row = Pool(id=pool_key(name, period), name=name, period=period, currency=currency)
        session.add(row)
        session.flush()
    elif (row.name, row.period) != (name, period):
        raise LedgerConflict(
            f"the key of a pool is the hash of its name and period, and that of {name!r} is held by pool {named(row)}. "
            "The database was changed by hand: restore it from a backup, and pay nobody by this one"
        )
    elif row.currency != currency:
        raise LedgerConflict(
            f"a pool is in one currency: {named(row)} is in {row.currency}, and is asked to pay in {currency}. Name "
            "another pool"
        )
    return row


def _policy(session: Session, terms: Mapping[str, Any] | None) -> str | None:
    if terms is None:
        return None
    digest = digest_of(terms)
    known = session.get(Policy, digest)
    if known is not None and digest_of(known.terms) != digest:
        raise LedgerConflict(
            f"the key of terms is their hash, and those of {digest[:12]} have been changed. The database was "
            "changed by hand: restore it from a backup, and pay nobody by this one"
        )
    if known is None:
        session.add(Policy(digest=digest, terms=dict(terms)))
        session.flush()
    return digest


def _entry(pool: Pool, contributor: str, valuation: str, kind: str, amount: int) -> dict[str, Any]:
    return {
        "pool": pool.id,
        "contributor": contributor,
        "valuation": valuation,
        "kind": kind,
        "amount_minor": amount,
        "currency": pool.currency,
    }


def _close(session: Session, book: Book, pool: Pool, entries: Sequence[Mapping[str, Any]], **said: Any) -> str:
    """Write the entries, and then the statement, which the database lets pass if they sum to zero."""
    statement = {**said, "position": book.position + 1, "created_at": now()}
    session.execute(insert(Entry), [{"statement": said["id"], **entry} for entry in entries])
    said_pool = {part: getattr(pool, part) for part in ("name", "period", "currency")}
    sealed = statement_hash(statement, said_pool, entries, book.head)
    session.add(Statement(pool=pool.id, previous=book.head, hash=sealed, **statement))
    session.flush()
    return str(said["id"])


def _credit_of(run: str) -> Any:
    return select(CreditTable).where(CreditTable.run == run).order_by(CreditTable.id.desc())
