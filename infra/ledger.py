"""The ledger: which pool was divided how. Rows are only ever added."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from infra.tables import Entry, Statement


class LedgerConflict(ValueError):
    """A posting contradicts what the ledger holds."""


class Ledger:
    """Statements by pool. A pool pays one valuation at a time: a later one reverses the earlier in full."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def post(self, *, pool: str, valuation: str, currency: str, amounts: Mapping[str, int]) -> str:
        """Record the division of a pool; posting the same again changes nothing.

        Args:
            valuation: digest of the credit table that the amounts follow from.
            amounts: minor units for each contributor.

        Returns:
            The id of the statement.

        Raises:
            LedgerConflict: this pool and valuation were posted with other amounts, or were reversed since.
        """
        with Session(self.engine) as session, session.begin():
            latest = session.scalar(
                select(Statement).where(Statement.pool == pool).order_by(Statement.sequence.desc()).limit(1)
            )
            known = session.scalar(select(Statement).where(Statement.pool == pool, Statement.valuation == valuation))
            if known is not None:
                self._check_same(session, known, latest, currency, amounts)
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
            if latest is not None:
                for entry in _payments(session, latest.id):
                    session.add(
                        Entry(
                            statement=identity,
                            pool=pool,
                            contributor=entry.contributor,
                            valuation=entry.valuation,
                            kind="reversal",
                            amount_minor=-entry.amount_minor,
                            currency=entry.currency,
                        )
                    )
            for contributor, amount in amounts.items():
                session.add(
                    Entry(
                        statement=identity,
                        pool=pool,
                        contributor=contributor,
                        valuation=valuation,
                        kind="payment",
                        amount_minor=amount,
                        currency=currency,
                    )
                )
            return identity

    def balance(self, pool: str) -> dict[str, int]:
        """What each contributor is owed from a pool, in minor units."""
        with Session(self.engine) as session:
            rows = session.execute(
                select(Entry.contributor, func.sum(Entry.amount_minor))
                .where(Entry.pool == pool)
                .group_by(Entry.contributor)
                .order_by(Entry.contributor)
            )
            return {contributor: int(amount) for contributor, amount in rows}

    @staticmethod
    def _check_same(
        session: Session, known: Statement, latest: Statement | None, currency: str, amounts: Mapping[str, int]
    ) -> None:
        entries = _payments(session, known.id)
        posted = {entry.contributor: entry.amount_minor for entry in entries}
        if posted != dict(amounts) or {entry.currency for entry in entries} != {currency}:
            raise LedgerConflict(
                f"a pool pays a valuation once; {known.pool!r} has paid valuation {known.valuation[:12]} a total of "
                f"{sum(posted.values())} minor units of {entries[0].currency}, and is asked to pay it "
                f"{sum(amounts.values())} of {currency}. Name another "
                "pool (`payout.name`)."
            )
        if latest is not None and latest.id != known.id:
            raise LedgerConflict(
                f"pool {known.pool!r} paid valuation {known.valuation[:12]} and has since replaced it by "
                f"{latest.valuation[:12]}; to pay the earlier one again, name another pool (`payout.name`)."
            )


def _payments(session: Session, statement: str) -> list[Entry]:
    return list(session.scalars(select(Entry).where(Entry.statement == statement, Entry.kind == "payment")))
