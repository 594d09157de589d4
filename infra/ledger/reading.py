"""Reading the ledger. Whatever counts money verifies the whole ledger first."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from royalty.infra.ledger.book import Movement, as_posted, last_divisions, listing, movements, pages
from royalty.infra.ledger.postings import RELEASED, REVERSALS, Head, LedgerConflict, Posted, Verified
from royalty.infra.ledger.verification import Book, Summary, verified_page, verified_pages, verified_summary, verify
from royalty.infra.ledger.witness import Witness
from royalty.infra.stores.chain import pool_key
from royalty.infra.stores.database import reading
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.tables import CreditTableRow, EvidenceRow, StatementRow


class LedgerReader:
    """Statements by pool and period, as they were posted.

    Args:
        witness: keeps heads of the ledger elsewhere, which it has to continue, and signs the records of rows.
    """

    def __init__(self, engine: Engine, witness: Witness | None = None) -> None:
        self.engine, self.witness = engine, witness

    def kept(self) -> list[Head]:
        """The last head that was kept elsewhere, if any: the ledger has to continue it."""
        latest = None if self.witness is None else self.witness.latest()
        return [] if latest is None else [latest]

    def heads(self, after: Head | None = None) -> list[Head]:
        """Heads of the statements after one, or else that of the last statement, as stored."""
        query = select(StatementRow.position, StatementRow.hash, StatementRow.id)
        with reading(self.engine) as session:
            if after is None:
                rows = session.execute(query.order_by(StatementRow.position.desc()).limit(1))
            else:
                later = query.where(StatementRow.position > after.position)
                rows = session.execute(later.order_by(StatementRow.position))
            return [Head(*row) for row in rows]

    def exports_of(self, statement: str) -> list[Mapping[str, Any]]:
        """Verified evidence of the payment files of a statement, in the order of their records."""
        with reading(self.engine) as session:
            exported = select(StatementRow.evidence).where(StatementRow.kind == "export")
            digests = session.scalars(exported.order_by(StatementRow.position)).all()
        contents = (self.evidence_of(digest) for digest in digests if digest is not None)
        return [content for content in contents if content is not None and content.get("statement") == statement]

    def evidence_of(self, digest: str) -> Mapping[str, Any] | None:
        """Evidence by its digest, verified; None if there is none.

        Raises:
            LedgerConflict: the row has other content than its digest says.
        """
        with reading(self.engine) as session:
            row = session.get(EvidenceRow, digest)
            if row is not None and digest_of(row.content) != digest:
                raise LedgerConflict(
                    f"the evidence {digest[:12]} was changed in the database; restore it from a backup, and make no "
                    "payment from this one"
                )
            return None if row is None else row.content

    def balance(self, pool: str, kind: str = "payment", *, period: str = "") -> dict[str, int]:
        """Sum of the entries of a kind for each contributor of a pool, in minor units, net of reversals.

        Args:
            kind: `payment`, `held`, `account`, or a kind of the pool's own accounts.

        Raises:
            LedgerBroken: the ledger does not verify.
        """
        kinds = [kind] + ([RELEASED[kind]] if kind in RELEASED else [])
        kinds += [REVERSALS[entry_kind] for entry_kind in kinds if entry_kind in REVERSALS]
        with reading(self.engine) as session:
            return self._book(session, pool, period).sums(kinds)

    def accounts(self, pool: str, currency: str, contributors: Collection[str], *, period: str = "") -> dict[str, int]:
        """Balances that a pool brings forward: minor units that earlier pools left on accounts; negative is owed.

        A posted pool brings forward the same balances as when it was posted, so that dividing it again gives the same.

        Returns:
            Balances of these contributors that are not zero.

        Raises:
            LedgerBroken: the ledger does not verify.
        """
        with reading(self.engine) as session:
            return self._book(session, pool, period).brought(currency, contributors)

    def terms(self, pool: str, valuation: str, *, period: str = "") -> dict[str, Any] | None:
        """The terms that a pool was divided by, if it follows this valuation and its statement has terms.

        Raises:
            LedgerBroken: the ledger does not verify.
        """
        with reading(self.engine) as session:
            terms = self._book(session, pool, period).terms(valuation)
            return None if terms is None else dict(terms)

    def departed(
        self,
        pool: str,
        currency: str,
        contributors: Collection[str],
        *,
        period: str = "",
        source: str | None = None,
        valuation: str = "",
    ) -> list[str]:
        """Contributors who are not among these, and to whom earlier pools of this name or run left money.

        Args:
            source: the run that the credit comes from.
            valuation: digest of the credit table. A pool that was divided by it pays the same people as then.

        Raises:
            LedgerBroken: the ledger does not verify.
        """
        with reading(self.engine) as session:
            book = self._book(session, pool, period)
            return book.departed(pool, currency, contributors, source, valuation)

    def credit_of(self, wanted: str) -> tuple[str, str] | None:
        """Find the latest credit by run name, or a credit table by its digest; return the run and the stage's key."""
        with reading(self.engine) as session:
            row = session.scalars(latest_credit(wanted)).first()
            if row is None and len(wanted) >= 8:
                by_digest = select(CreditTableRow).where(CreditTableRow.digest.startswith(wanted, autoescape=True))
                row = session.scalars(by_digest.order_by(CreditTableRow.id.desc())).first()
            return None if row is None else (row.run, row.stage)

    def credited_runs(self) -> list[str]:
        """Names of the runs that have credit."""
        with reading(self.engine) as session:
            return list(session.scalars(select(CreditTableRow.run).distinct().order_by(CreditTableRow.run)))

    def statements(self) -> list[Posted]:
        """All statements, in the order of posting, as stored; `verify` checks them."""
        with reading(self.engine) as session:
            return listing(pages(session))

    def verified_statements(self) -> list[Posted]:
        """All statements, in the order of posting.

        Raises:
            LedgerBroken: the ledger does not verify.
        """
        with reading(self.engine) as session:
            return listing(verified_pages(session, self.kept()))

    def summary(self, identity: str) -> Summary:
        """A statement without its entries: read at once, however many there are.

        Its header is verified by its own hash, which stands for the entries too; `statement` and `verify` compare them.

        Raises:
            LedgerConflict: no statement has this ID.
            LedgerBroken: the header is not valid.
        """
        with reading(self.engine) as session:
            found = verified_summary(session, identity)
        if found is None:
            raise unknown_statement(identity)
        return found

    def history(self, contributor: str) -> list[Movement]:
        """Entries of a contributor in all pools, in the order of posting, as stored; `verify` compares them.

        Read by the index of pools and contributors, so that it takes no longer in a large ledger.
        """
        with reading(self.engine) as session:
            return movements(session, contributor)

    def verified_history(self, contributor: str) -> list[Movement]:
        """The same, after all headers were verified, and all entries of each statement that names the contributor.

        It takes time in proportion to the entries of these statements.

        Raises:
            LedgerBroken: a header or one of these statements does not verify.
        """
        found = self.history(contributor)
        with reading(self.engine) as session:
            last = next(iter(self.heads()), None)
            deque(verified_pages(session, self.kept(), since=last), maxlen=0)
            for identity in dict.fromkeys(movement.statement for movement in found):
                verified_page(session, identity)
        return found

    def statement(self, identity: str) -> Posted:
        """The statement with an ID, verified by its own hash.

        Raises:
            LedgerConflict: no statement has this ID.
            LedgerBroken: the statement does not verify.
        """
        with reading(self.engine) as session:
            page = verified_page(session, identity)
            if page is None:
                raise unknown_statement(identity)
            return as_posted(page, last_divisions(session.scalars(select(StatementRow))))

    def verify(self, since: Head | None = None) -> Verified:
        """Verify all hashes of the chain, from its first statement, and every row that statements rest on.

        Args:
            since: a head that was verified before and kept. Of statements up to it, the headers are verified, and their
                entries by number and sum only.
        """
        kept = [] if self.witness is None else self.witness.heads()
        with reading(self.engine) as session:
            return verify(session, kept, since, self.witness)

    def _book(self, session: Session, pool: str, period: str) -> Book:
        return Book.read(session, pool_key(pool, period), self.kept(), self.witness)


def unknown_statement(identity: str) -> LedgerConflict:
    return LedgerConflict(f"no statement has the ID {identity!r}; `royalty ledger` lists the statements")


def latest_credit(run: str) -> Any:
    return select(CreditTableRow).where(CreditTableRow.run == run).order_by(CreditTableRow.id.desc())
