"""Verify the ledger: every statement's hash, and that every entry belongs to a statement. All payments depend on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from royalty.infra.ledger.book import Line, Page, pages
from royalty.infra.ledger.change import Money, money_by_contributor
from royalty.infra.ledger.evidence import evidence_problem
from royalty.infra.ledger.postings import AWARDS, REVERSALS, Head, LedgerBroken, Verified
from royalty.infra.ledger.stray_rows import Problem, stray_row
from royalty.infra.stores.chain import (
    ENTRY_PARTS,
    GENESIS,
    HEADER,
    PARTS,
    VERSION,
    body_of,
    header_hash,
    pool_key,
    returned,
    statement_hash,
)
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.records import Seal
from royalty.infra.stores.tables import EntryRow, PolicyRow, PoolRow, StatementRow

FOLLOWED = ("division", "correction")
"""Kinds of statements after which a pool follows their valuation."""
ACCOUNT_KINDS = ("account", REVERSALS["account"], "award")


def verified_pages(session: Session, kept: Iterable[Head] = (), since: Head | None = None) -> Iterator[Page]:
    """Yield all statements in order, each after it was verified.

    Args:
        kept: heads that were kept elsewhere, which the ledger has to continue.
        since: a head that was verified before. Pages up to it have no lines, and their entries are not hashed.

    Raises:
        LedgerBroken: a statement is not valid; or, after the last one, a row belongs to no statement. Pages yielded
            before must then not be used.
    """
    head, valid, version = GENESIS, 0, 1
    expected = {each.position: each for each in ([*kept] if since is None else [*kept, since])}
    skipped = 0 if since is None else since.position
    for page in pages(session, entries_after=skipped):
        row = page.statement
        totals = row.totals if row.position <= skipped and row.version > 1 else None
        why = fault(page, position=valid + 1, previous=head, version=version, totals=totals)
        if why is None and row.position in expected and expected[row.position].head != row.hash:
            why = REWRITTEN
        if why is not None:
            raise LedgerBroken(Verified(valid, head, broken=row.id, why=why))
        yield page
        head, valid, version = row.hash, valid + 1, row.version
    if expected and max(expected) > valid:
        missing = expected[max(expected)]
        raise LedgerBroken(Verified(valid, head, broken=missing.statement, why=f"{CUT}; the ledger has {valid}"))
    if (stray := stray_row(session)) is not None:
        raise LedgerBroken(stray.found(valid, head))


REWRITTEN = "its hash is not that of the checkpoint that was signed for it, so that the ledger was rewritten since"
CUT = "a checkpoint was signed for it, and its statement is not there"


def verify(
    session: Session, kept: Iterable[Head] = (), since: Head | None = None, seal: Seal | None = None
) -> Verified:
    """Verify the whole ledger, and all rows that its statements rest on.

    Args:
        kept, since: as for `verified_pages`. Numbers and sums of entries up to `since` are compared with the headers.
        seal: None: signatures are not verified.

    Amounts and their order are verified by the chain of hashes. Then every row that a statement's evidence names is
    compared with its digest there, and every row of the run store with its signed record.
    """
    head, valid, posted = GENESIS, 0, list[StatementRow]()
    try:
        for page in verified_pages(session, kept, since):
            head, valid = page.statement.hash, page.statement.position
            posted.append(page.statement)
    except LedgerBroken as broken:
        return broken.verified
    problem = _other_totals(session, posted, since) or evidence_problem(session, posted, seal)
    return Verified(valid, head, broken=None, why=None) if problem is None else problem.found(valid, head)


def _other_totals(session: Session, statements: Iterable[StatementRow], since: Head | None) -> Problem | None:
    """A statement up to a position whose entries are other in number or sum than its header says."""
    if since is None:
        return None
    entry, sums = EntryRow.__table__.c, defaultdict[str, dict[str, list[int]]](dict)
    query = select(entry.statement, entry.kind, func.count(), func.sum(entry.amount_minor))
    for statement, kind, number, total in session.connection().execute(query.group_by(entry.statement, entry.kind)):
        sums[statement][kind] = [number, int(total)]
    for row in statements:
        if row.version > 1 and row.position <= since.position and sums[row.id] != row.totals:
            return Problem("statement", row.id, "the number or sum of its entries is not what its header says")
    return None


@dataclass(frozen=True)
class Summary:
    """A statement without its entries.

    Attributes:
        totals: number of entries, and sum of their minor units, by kind.
    """

    id: str
    position: int
    pool: str
    period: str
    kind: str
    date: str
    currency: str
    totals: dict[str, list[int]]
    hash: str


def verified_summary(session: Session, identity: str) -> Summary | None:
    """The header of a statement, verified by its own hash; None if there is none.

    Raises:
        LedgerBroken: the header is not valid.
    """
    row = session.get(StatementRow, identity)
    if row is None:
        return None
    if row.version == 1:
        page = verified_page(session, identity)
    else:
        terms = session.get(PolicyRow, row.policy) if row.policy is not None else None
        page = Page(row, session.get(PoolRow, row.pool), terms, ())
        why = fault(page, position=row.position, previous=row.previous, version=row.version, totals=row.totals)
        if why is not None:
            raise LedgerBroken(Verified(row.position - 1, row.previous, broken=identity, why=why))
    pool = page.pool if page is not None else None
    if page is None or pool is None:
        return None
    totals = row.totals if row.totals is not None else body_of(line[FIRST_PART:] for line in page.lines).totals
    place = (row.id, row.position, pool.name, pool.period, row.kind, row.created_at[:10], pool.currency)
    return Summary(*place, totals, row.hash)


def verified_page(session: Session, identity: str) -> Page | None:
    """The statement with an ID, verified by its own hash; None if there is none.

    Raises:
        LedgerBroken: the statement is not valid.
    """
    page = next(pages(session, StatementRow.id == identity), None)
    if page is not None:
        position, previous = page.statement.position, page.statement.previous
        why = fault(page, position=position, previous=previous)
        if why is not None:
            raise LedgerBroken(Verified(position - 1, previous, broken=identity, why=why))
    return page


def check_evidence(session: Session, posted: Sequence[StatementRow], head: str, seal: Seal | None) -> None:
    """Verify the rows that statements rest on, before money is moved by them.

    Args:
        posted: all statements, verified.
        head: hash of the last.
        seal: None: signatures are not verified.

    Raises:
        LedgerBroken: a row was changed, removed or added by hand.
    """
    if (problem := evidence_problem(session, posted, seal)) is not None:
        raise LedgerBroken(problem.found(len(posted), head))


@dataclass
class Book:
    """Verified statements of one pool, and the balances that it brings forward.

    Attributes:
        pages: the pool's statements.
        accounts: minor units by currency and contributor that pools before this one left on accounts.
        related: for each contributor, names of the pools and of the runs by which money moved on their account.
        head, position: hash and position of the last statement of all pools.
        seal: signs the statements that follow; None: they are not signed.
    """

    pages: list[Page] = field(default_factory=list)
    accounts: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    related: dict[str, set[tuple[str, str | None]]] = field(default_factory=lambda: defaultdict(set))
    head: str = GENESIS
    position: int = 0
    seal: Seal | None = None

    @classmethod
    def read(cls, session: Session, pool: str, kept: Iterable[Head], seal: Seal | None) -> Book:
        """Read the statements of a pool, by its key, and verify the whole ledger and all rows that it rests on.

        All amounts returned later come from the rows verified here; none is read again.

        Args:
            kept: as for `verified_pages`.
            seal: as for `check_evidence`.

        Raises:
            LedgerBroken: the ledger does not verify.
        """
        book, posted = cls(seal=seal), list[StatementRow]()
        for page in verified_pages(session, kept):
            posted.append(page.statement)
            book.head, book.position = page.statement.hash, page.statement.position
            if page.statement.pool == pool:
                book.pages.append(page)
            elif not book.pages:
                book.add_accounts(page)
        check_evidence(session, posted, book.head, seal)
        return book

    def add_accounts(self, page: Page) -> None:
        """Add what a page moves on accounts."""
        for line in page.lines:
            if line.kind in ACCOUNT_KINDS:
                self.accounts[line.currency, line.contributor] += line.amount_minor
                name = page.pool.name if page.pool is not None else ""
                self.related[line.contributor] |= {("pool", name), ("run", page.statement.source)}

    @property
    def latest(self) -> StatementRow | None:
        """The last division of the pool."""
        return next((page.statement for page in reversed(self.pages) if page.statement.kind == "division"), None)

    @property
    def current(self) -> StatementRow | None:
        """The last division or correction of the pool: its valuation is the one that the pool follows."""
        return next((page.statement for page in reversed(self.pages) if page.statement.kind in FOLLOWED), None)

    def by(self, valuation: str) -> StatementRow | None:
        """The current division or correction, if it is by this valuation."""
        current = self.current
        return current if current is not None and current.valuation == valuation else None

    def replaced(self, valuation: str) -> StatementRow | None:
        """The last division or correction by this valuation, if the pool follows another valuation now."""
        rows = [page.statement for page in self.pages if page.statement.kind in FOLLOWED]
        earlier = [row for row in rows if row.valuation == valuation]
        return earlier[-1] if earlier and earlier[-1] is not rows[-1] else None

    def entry_valuation(self, valuation: str) -> str:
        """The valuation of new entries: its digest, and what they correct if the pool returns to it."""
        current = self.current
        return returned(valuation, current.id) if current is not None and self.replaced(valuation) else valuation

    @property
    def active(self) -> list[Line]:
        """The entries of the last division and of the releases and corrections since, without reversals."""
        latest = self.latest
        since = [page for page in self.pages if latest is not None and page.statement.position >= latest.position]
        return [line for page in since for line in page.lines if line.kind in REVERSALS]

    @property
    def money(self) -> dict[str, Money]:
        """The money of each contributor in this pool, and of the pool itself."""
        return money_by_contributor(line for page in self.pages for line in page.lines)

    @property
    def divided(self) -> dict[str, Money]:
        """The same by the pool's divisions and corrections alone, without decisions of cases."""
        lines = (line for page in self.pages for line in page.lines)
        return money_by_contributor(line for line in lines if line.kind not in AWARDS)

    @property
    def decided(self) -> bool:
        """Whether the decision of a case moved money of the pool."""
        return any(line.kind in AWARDS for page in self.pages for line in page.lines)

    def terms(self, valuation: str) -> Mapping[str, Any] | None:
        """The terms of the division or correction that the pool follows, if it is by this valuation and has terms."""
        current = self.by(valuation)
        page = next((page for page in self.pages if current is not None and page.statement is current), None)
        return page.policy.terms if page is not None and page.policy is not None else None

    def departed(
        self, pool: str, currency: str, contributors: Collection[str], source: str | None, valuation: str
    ) -> list[str]:
        """Contributors who are not among these, and to whom earlier pools of this name or run left money.

        If the pool was divided by this valuation, only those to whom that division gave it.
        """
        own = {("pool", pool), *([("run", source)] if source is not None else [])}
        names = {name for (unit, name), amount in self.accounts.items() if unit == currency and amount > 0}
        known = self.by(valuation)
        if known is not None and known.kind == "division":
            names &= {line.contributor for line in self.posted(known)}
        return sorted(name for name in names if name not in contributors and own & self.related[name])

    def knows(self, identity: str) -> bool:
        return any(page.statement.id == identity for page in self.pages)

    def posted(self, statement: StatementRow) -> list[Line]:
        """The entries of a division and of its releases, without its reversals of earlier ones."""
        own = next(page.lines for page in self.pages if page.statement.id == statement.id)
        valuations = {line.valuation for line in own if line.kind in REVERSALS}
        lines = (line for page in self.pages for line in page.lines)
        return [line for line in lines if line.valuation in valuations and line.kind in REVERSALS]

    def sums(self, kinds: Collection[str]) -> dict[str, int]:
        """The pool's entries of these kinds, summed for each contributor."""
        sums: dict[str, int] = defaultdict(int)
        for page in self.pages:
            for line in page.lines:
                if line.kind in kinds:
                    sums[line.contributor] += line.amount_minor
        return dict(sorted(sums.items()))

    def brought(self, currency: str, contributors: Collection[str]) -> dict[str, int]:
        """Balances that the pool brings forward on the accounts of these contributors, if not zero."""
        balances = {name: amount for (unit, name), amount in self.accounts.items() if unit == currency}
        return {name: amount for name, amount in balances.items() if amount and name in contributors}


def fault(
    page: Page, *, position: int, previous: str, version: int = 1, totals: Mapping[str, Any] | None = None
) -> str | None:
    """Why a statement is not valid; None if it is valid.

    Args:
        position, previous: the position and previous hash that follow from the statement before it.
        version: smallest version that it may have: that of the statement before it.
        totals: of its header, if the page has no lines, so that only the header is verified.
    """
    row, pool = page.statement, page.pool
    if not version <= row.version <= VERSION:
        return f"its version is {row.version}, and a statement in its place has a version from {version} to {VERSION}"
    if row.position != position:
        return f"its position is {row.position}, but the next position is {position}"
    if row.previous != previous:
        return "its previous hash is not that of the statement before it"
    if pool is None or pool.id != pool_key(pool.name, pool.period) or _hash(page, previous, totals) != row.hash:
        return "its hash does not match its content: it, its pool or its entries have been changed"
    if stray := next((line for line in page.lines if line.pool != row.pool), None):
        return f"its entry {stray.id} belongs to another pool"
    amounts = (line.amount_minor for line in page.lines) if totals is None else (total for _, total in totals.values())
    if sum(amounts):
        return "its entries do not sum to zero"
    if row.policy is not None and (page.policy is None or digest_of(page.policy.terms) != row.policy):
        return "the terms of its division have been changed"
    return None


def _hash(page: Page, previous: str, totals: Mapping[str, Any] | None) -> str | None:
    """Hash of a statement's content; None if its header does not fit its entries, or values cannot be hashed.

    SQLite accepts any value in any column, such as bytes for a name.
    """
    row, pool = page.statement, vars(page.pool)
    try:
        if row.version == 1:
            lines = [_columns(line, ENTRY_PARTS) for line in page.lines]
            unhashed = (row.evidence, row.body, row.totals) != (None, None, None)
            return None if unhashed else statement_hash(_columns(row, PARTS), pool, lines, previous)
        if totals is None:
            body = body_of(line[FIRST_PART:] for line in page.lines)
            same = (row.body, row.totals) == (body.digest, body.totals)
        else:
            same = row.totals == totals
        return header_hash(_columns(row, HEADER), pool, previous) if same else None
    except (TypeError, UnicodeEncodeError):
        return None


FIRST_PART = Line._fields.index(ENTRY_PARTS[0])
"""Where the parts of an entry that are hashed begin; the last columns of a line are these, in this order."""


def _columns(row: Any, parts: Iterable[str]) -> dict[str, Any]:
    return {part: getattr(row, part) for part in parts}
