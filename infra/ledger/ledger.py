"""The ledger: which pool was divided how, and what was left for later. Rows are only ever added.

Double entry: a statement moves money from its pool to accounts, so that its entries sum to zero. The database
refuses anything else, and any change of what it holds (`royalty.infra.stores.migrations.triggers`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, func, select
from sqlalchemy.orm import Session

from royalty.infra.ledger.chain import ENTRY_PARTS, GENESIS, PARTS, pool_key, statement_hash
from royalty.infra.ledger.money import formatted
from royalty.infra.ledger.postings import (
    HOUSE,
    RELEASED,
    REVERSALS,
    LedgerConflict,
    OthersPool,
    Posted,
    Posting,
    Verified,
)
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
                is in another currency; accounts are not what they were when the division was made.
        """
        with Session(self.engine) as session, session.begin():
            lock(session.connection())
            row = _pool(session, pool, period, posting.currency)
            latest = _latest(session, row.id)
            known = session.scalar(
                select(Statement).where(
                    Statement.pool == row.id, Statement.valuation == posting.valuation, Statement.kind == "division"
                )
            )
            if known is not None:
                _check_same(session, row, known, latest, posting)
                return known.id
            others = latest is not None and None not in (latest.source, posting.source)
            if latest is not None and others and latest.source != posting.source and not replace_other_runs:
                raise OthersPool(
                    f"a pool is divided by one run's credit: {_named(row)} was by that of {latest.source!r}, and is "
                    f"asked to be by that of {posting.source!r}. Name another pool, or say that this corrects it "
                    "(`royalty payout --replace`)"
                )
            if _accounts(session, row.id, posting.currency, posting.amounts) != dict(brought or {}):
                raise LedgerConflict(
                    f"accounts changed while {pool!r} was divided, by another pool; run again to divide by what they "
                    "hold now"
                )
            entries = [_entry(row, name, posting.valuation, kind, amount) for kind, name, amount in posting.entries]
            if latest is not None:
                entries += [
                    _entry(row, old.contributor, old.valuation, REVERSALS[old.kind], -old.amount_minor)
                    for old in _posted(session, row.id, latest.valuation)
                ]
            policy = _policy(session, posting.terms)
            identity = _identity(row.id, "division", posting.valuation)
            return _close(
                session,
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
        """
        names = sorted(set(contributors))
        with Session(self.engine) as session, session.begin():
            lock(session.connection())
            row = session.get(Pool, pool_key(pool, period))
            latest = None if row is None else _latest(session, row.id)
            if row is None or latest is None:
                raise LedgerConflict(f"what a pool holds is released, and {pool!r} has not been divided; pay it first")
            posted = _posted(session, row.id, latest.valuation)
            released = {entry.contributor for entry in posted if entry.kind == "release"}
            held = {entry.contributor: entry.amount_minor for entry in posted if entry.kind == "held"}
            identity = _identity(row.id, "release", latest.valuation, *names)
            if session.get(Statement, identity) is not None:
                return identity
            if unknown := [name for name in names if not held.get(name) or name in released]:
                waiting = [name for name, amount in held.items() if amount and name not in released]
                raise LedgerConflict(
                    f"what a pool holds is released, and {_named(row)} holds nothing for "
                    f"{', '.join(map(repr, unknown))}; it does for {', '.join(waiting) or 'nobody'}"
                )
            entries = [
                _entry(row, name, latest.valuation, kind, sign * held[name])
                for name in names
                for kind, sign in (("release", 1), ("held-release", -1))
            ]
            return _close(
                session,
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
        """
        kinds = [kind] + ([RELEASED[kind]] if kind in RELEASED else [])
        kinds += [REVERSALS[one] for one in kinds]
        with Session(self.engine) as session:
            return _sums(session, Entry.pool == pool_key(pool, period), Entry.kind.in_(kinds))

    def accounts(self, pool: str, currency: str, contributors: Collection[str], *, period: str = "") -> dict[str, int]:
        """What a pool brings forward: minor units that earlier pools left on accounts; negative is owed.

        A pool that has been posted brings forward what it did then, so that dividing it again gives the same.

        Returns:
            Accounts of these contributors that are not zero.
        """
        with Session(self.engine) as session:
            return _accounts(session, pool_key(pool, period), currency, contributors)

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
        """All statements, in the order of posting."""
        with Session(self.engine) as session:
            rows = list(session.scalars(select(Statement).order_by(Statement.position)))
            replaced = {row.replaces for row in rows}
            past = {(row.pool, row.valuation) for row in rows if row.kind == "division" and row.id in replaced}
            return [_as_posted(session, row, active=(row.pool, row.valuation) not in past) for row in rows]

    def statement(self, identity: str) -> Posted:
        """One of them."""
        return next(posted for posted in self.statements() if posted.id == identity)

    def verify(self) -> Verified:
        """Walk the chain from its first statement, hashing everything again."""
        head, held = GENESIS, 0
        with Session(self.engine) as session:
            for row in session.scalars(select(Statement).order_by(Statement.position)):
                why = _fault(session, row, position=held + 1, previous=head)
                if why is not None:
                    return Verified(held, head, broken=row.id, why=why)
                head, held = row.hash, held + 1
        return Verified(held, head, broken=None, why=None)


def _fault(session: Session, row: Statement, *, position: int, previous: str) -> str | None:
    pool = session.get(Pool, row.pool)
    entries = [_said(entry, ENTRY_PARTS) for entry in _of_statement(session, row.id)]
    if row.position != position:
        return f"it is number {row.position}, where {position} follows"
    if row.previous != previous:
        return "it does not hold the hash of the statement before it"
    if pool is None or statement_hash(_said(row, PARTS), vars(pool), entries, previous) != row.hash:
        return "its hash is not that of what it says: it, its pool or its entries have been changed"
    if sum(entry["amount_minor"] for entry in entries):
        return "its entries do not sum to zero"
    policy = None if row.policy is None else session.get(Policy, row.policy)
    if row.policy is not None and (policy is None or digest_of(policy.terms) != row.policy):
        return "the terms it was divided by have been changed"
    return None


def _said(row: Any, parts: Iterable[str]) -> dict[str, Any]:
    return {part: getattr(row, part) for part in parts}


def _identity(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _named(pool: Pool) -> str:
    return repr(pool.name) + (f" of {pool.period}" if pool.period else "")


def _pool(session: Session, name: str, period: str, currency: str) -> Pool:
    row = session.get(Pool, pool_key(name, period))
    if row is None:
        row = Pool(id=pool_key(name, period), name=name, period=period, currency=currency)
        session.add(row)
        session.flush()
    elif row.currency != currency:
        raise LedgerConflict(
            f"a pool is in one currency: {_named(row)} is in {row.currency}, and is asked to pay in {currency}. Name "
            "another pool"
        )
    return row


def _policy(session: Session, terms: Mapping[str, Any] | None) -> str | None:
    if terms is None:
        return None
    digest = digest_of(terms)
    if session.get(Policy, digest) is None:
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


def _close(session: Session, pool: Pool, entries: Sequence[Mapping[str, Any]], **said: Any) -> str:
    """Write the entries, and then the statement, which the database lets pass if they sum to zero."""
    last = session.scalars(select(Statement).order_by(Statement.position.desc()).limit(1)).first()
    previous, position = (GENESIS, 1) if last is None else (last.hash, last.position + 1)
    statement = {**said, "position": position, "created_at": now()}
    session.add_all(Entry(statement=said["id"], **entry) for entry in entries)
    session.flush()
    sealed = statement_hash(statement, _said(pool, ("name", "period", "currency")), entries, previous)
    session.add(Statement(pool=pool.id, previous=previous, hash=sealed, **statement))
    session.flush()
    return str(said["id"])


def _credit_of(run: str) -> Any:
    return select(CreditTable).where(CreditTable.run == run).order_by(CreditTable.id.desc())


def _latest(session: Session, pool: str) -> Statement | None:
    divisions = select(Statement).where(Statement.pool == pool, Statement.kind == "division")
    return session.scalars(divisions.order_by(Statement.position.desc()).limit(1)).first()


def _of_statement(session: Session, statement: str) -> list[Entry]:
    return list(session.scalars(select(Entry).where(Entry.statement == statement).order_by(Entry.id)))


def _posted(session: Session, pool: str, valuation: str) -> list[Entry]:
    """What was posted by a valuation, without what that took back."""
    return list(
        session.scalars(
            select(Entry).where(Entry.pool == pool, Entry.valuation == valuation, Entry.kind.in_(REVERSALS))
        )
    )


def _as_posted(session: Session, row: Statement, *, active: bool) -> Posted:
    pool = session.get_one(Pool, row.pool)
    paid: dict[str, int] = {}
    moved: dict[str, int] = {}
    for entry in _of_statement(session, row.id):
        if entry.kind in ("payment", "release"):
            paid[entry.contributor] = entry.amount_minor
        if entry.kind in ("payment", "release", "reversal", "release-reversal"):
            moved[entry.contributor] = moved.get(entry.contributor, 0) + entry.amount_minor
    return Posted(
        id=row.id,
        pool=pool.name,
        period=pool.period,
        kind=row.kind,
        valuation=row.valuation,
        source=row.source,
        policy=row.policy,
        sequence=row.position,
        created_at=row.created_at,
        currency=pool.currency,
        amount=row.amount_minor,
        hash=row.hash,
        paid=paid,
        moved=moved,
        active=active,
    )


def _check_same(session: Session, pool: Pool, known: Statement, latest: Statement | None, posting: Posting) -> None:
    """Check that a valuation is asked to pay what it paid, what was released since included or not.

    Raises:
        LedgerConflict: it is not, or another one has replaced it.
    """
    posted = {
        (entry.kind, entry.contributor): entry.amount_minor
        for entry in _posted(session, pool.id, known.valuation)
        if entry.contributor != HOUSE
    }
    since = {name: posted.pop(("release", name)) for kind, name in list(posted) if kind == "release"}
    then = {key: amount for key, amount in posted.items() if key[0] != "held-release"}
    now_held = {key: amount for key, amount in then.items() if key[0] != "held" or key[1] not in since}
    effective = now_held | {("payment", name): amount for name, amount in since.items()}
    asked = {(kind, name): amount for kind, name, amount in posting.entries if name != HOUSE}
    if asked not in (then, effective):
        raise LedgerConflict(
            f"a pool pays a valuation once; {_named(pool)} has paid valuation {known.valuation[:12]} a total of "
            f"{formatted(_total(then), pool.currency)}, and is asked to pay it "
            f"{formatted(_total(asked), posting.currency)}, or to hold or carry over another amount. Name another pool "
            "(`payout.name`), or release what is held (`royalty payout --release`)."
        )
    if latest is not None and latest.id != known.id:
        raise LedgerConflict(
            f"pool {_named(pool)} paid valuation {known.valuation[:12]} and has since replaced it by "
            f"{latest.valuation[:12]}; to pay the earlier one again, name another pool (`payout.name`)."
        )


def _total(entries: Mapping[tuple[str, str], int]) -> int:
    return sum(amount for (kind, _), amount in entries.items() if kind == "payment")


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
