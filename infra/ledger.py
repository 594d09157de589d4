"""The ledger: which pool was divided how, and what was left for later. Rows are only ever added."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from infra.tables import Entry, Statement


class LedgerConflict(ValueError):
    """A posting contradicts what the ledger holds."""


@dataclass(frozen=True)
class Posted:
    """A statement as it was posted; a later one of its pool has reversed it unless it is `active`.

    Attributes:
        valuation: digest of the credit table.
        paid: minor units by contributor.
    """

    id: str
    pool: str
    valuation: str
    sequence: int
    created_at: str
    currency: str
    paid: Mapping[str, int]
    active: bool = True


REVERSALS = {"payment": "reversal", "held": "held-reversal", "account": "account-reversal"}
"""Kinds of entries, and the kinds that take them back.

A `payment` goes to a contributor now, what is `held` waits for the end of a dispute, and an `account` entry is by how
much that which is left for later pools, less what is owed, has changed.
"""


class Ledger:
    """Statements by pool. A pool pays one valuation at a time: a later one reverses the earlier in full."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def post(
        self,
        *,
        pool: str,
        valuation: str,
        currency: str,
        amounts: Mapping[str, int],
        held: Mapping[str, int] | None = None,
        accounts: Mapping[str, int] | None = None,
        brought: Mapping[str, int] | None = None,
    ) -> str:
        """Record the division of a pool; posting the same again changes nothing.

        Args:
            valuation: digest of the credit table that the amounts follow from.
            amounts: minor units for each contributor, paid now.
            held: minor units that wait for the end of a dispute.
            accounts: minor units by which contributors' accounts change.
            brought: what `accounts` said of these contributors when the division was made.

        Returns:
            The id of the statement.

        Raises:
            LedgerConflict: this pool and valuation were posted with other amounts, or were reversed since; accounts
                are not what they were when the division was made.
        """
        posted = {"payment": dict(amounts), "held": dict(held or {}), "account": dict(accounts or {})}
        with Session(self.engine) as session, session.begin():
            # PostgreSQL then lets only one of two pools have what both would bring forward.
            session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
            latest = session.scalar(
                select(Statement).where(Statement.pool == pool).order_by(Statement.sequence.desc()).limit(1)
            )
            known = session.scalar(select(Statement).where(Statement.pool == pool, Statement.valuation == valuation))
            if known is not None:
                self._check_same(session, known, latest, currency, posted)
                return known.id
            sequence = latest.sequence + 1 if latest else 1
            identity = hashlib.sha256(f"{pool}\n{sequence}\n{valuation}".encode()).hexdigest()[:16]
            session.add(Statement(id=identity, pool=pool, valuation=valuation, sequence=sequence))
            try:
                session.flush()
            except IntegrityError:
                raise LedgerConflict(
                    f"another process posted to pool {pool!r} at this moment; run again to see what holds now"
                ) from None
            # Only now, where SQLite lets nobody else write.
            if _accounts(session, pool, currency, amounts) != dict(brought or {}):
                raise LedgerConflict(
                    f"accounts changed while {pool!r} was divided, by another pool; run again to divide by what they "
                    "hold now"
                )
            for entry in _entries(session, latest.id) if latest is not None else ():
                session.add(
                    Entry(
                        statement=identity,
                        pool=pool,
                        contributor=entry.contributor,
                        valuation=entry.valuation,
                        kind=REVERSALS[entry.kind],
                        amount_minor=-entry.amount_minor,
                        currency=entry.currency,
                    )
                )
            for kind, by_contributor in posted.items():
                for contributor, amount in by_contributor.items():
                    session.add(
                        Entry(
                            statement=identity,
                            pool=pool,
                            contributor=contributor,
                            valuation=valuation,
                            kind=kind,
                            amount_minor=amount,
                            currency=currency,
                        )
                    )
            return identity

    def balance(self, pool: str, kind: str = "payment") -> dict[str, int]:
        """What each contributor is paid from a pool, or what is held of it, in minor units.

        Args:
            kind: of the entries, a key of `REVERSALS`.
        """
        with Session(self.engine) as session:
            return _sums(session, Entry.pool == pool, Entry.kind.in_((kind, REVERSALS[kind])))

    def accounts(self, pool: str, currency: str, contributors: Collection[str]) -> dict[str, int]:
        """What a pool brings forward: minor units that earlier pools left on accounts; negative is owed.

        A pool that has been posted brings forward what it did then, so that dividing it again gives the same.

        Returns:
            Accounts of these contributors that are not zero.
        """
        with Session(self.engine) as session:
            return _accounts(session, pool, currency, contributors)

    def statements(self) -> list[Posted]:
        """All statements, in the order of posting."""
        with Session(self.engine) as session:
            latest: dict[str, Posted] = {}
            found: list[Posted] = []
            for row in session.scalars(select(Statement).order_by(Statement.created_at, Statement.sequence)):
                own = _entries(session, row.id)
                paid = {entry.contributor: entry.amount_minor for entry in own if entry.kind == "payment"}
                currency = own[0].currency if own else ""
                posted = Posted(row.id, row.pool, row.valuation, row.sequence, row.created_at, currency, paid)
                found.append(posted)
                latest[row.pool] = posted
            return [replace(one, active=latest[one.pool].id == one.id) for one in found]

    @staticmethod
    def _check_same(
        session: Session,
        known: Statement,
        latest: Statement | None,
        currency: str,
        asked: Mapping[str, Mapping[str, int]],
    ) -> None:
        entries = _entries(session, known.id)
        posted: dict[str, dict[str, int]] = {kind: {} for kind in REVERSALS}
        for entry in entries:
            posted[entry.kind][entry.contributor] = entry.amount_minor
        if posted != asked or {entry.currency for entry in entries} != {currency}:
            raise LedgerConflict(
                f"a pool pays a valuation once; {known.pool!r} has paid valuation {known.valuation[:12]} a total of "
                f"{sum(posted['payment'].values())} minor units of {entries[0].currency}, and is asked to pay it "
                f"{sum(asked['payment'].values())} of {currency}, or to hold or carry over another amount. Name "
                "another pool (`payout.name`)."
            )
        if latest is not None and latest.id != known.id:
            raise LedgerConflict(
                f"pool {known.pool!r} paid valuation {known.valuation[:12]} and has since replaced it by "
                f"{latest.valuation[:12]}; to pay the earlier one again, name another pool (`payout.name`)."
            )


def _entries(session: Session, statement: str) -> list[Entry]:
    """What a statement posted itself, without what it took back."""
    return list(session.scalars(select(Entry).where(Entry.statement == statement, Entry.kind.in_(REVERSALS))))


def _accounts(session: Session, pool: str, currency: str, contributors: Collection[str]) -> dict[str, int]:
    first = session.scalar(select(func.min(Entry.id)).where(Entry.pool == pool))
    earlier = () if first is None else (Entry.id < first,)
    kinds = ("account", REVERSALS["account"])
    sums = _sums(session, Entry.currency == currency, Entry.kind.in_(kinds), *earlier)
    return {name: amount for name, amount in sums.items() if amount and name in contributors}


def _sums(session: Session, *conditions: ColumnElement[bool]) -> dict[str, int]:
    rows = session.execute(
        select(Entry.contributor, func.sum(Entry.amount_minor))
        .where(*conditions)
        .group_by(Entry.contributor)
        .order_by(Entry.contributor)
    )
    return {contributor: int(amount) for contributor, amount in rows}
