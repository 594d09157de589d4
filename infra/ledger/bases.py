"""The credit that earlier divisions of a pool went by, for pools that keep what is not certain to have moved."""

from __future__ import annotations

from royalty.infra.ledger.book import Page
from royalty.infra.ledger.ledger import Ledger
from royalty.infra.ledger.verification import verified_pages
from royalty.infra.stores.database import reading


def credit_before(ledger: Ledger, pool: str, valuation: str, *, period: str = "") -> str | None:
    """Digest of the credit table that the last division of a pool went by, in this period or another.

    A division that was posted before gets the digest that it was posted with, so that repeating it changes nothing.

    Args:
        valuation: digest of the credit table that the pool is to be divided by now.

    Returns:
        None if the pool was never divided.

    Raises:
        LedgerBroken: the ledger does not verify.
    """
    with reading(ledger.engine) as session:
        pages = [
            page for page in verified_pages(session, ledger.kept()) if page.statement.kind in ("division", "correction")
        ]
        divisions = [page for page in pages if page.pool is not None and page.pool.name == pool]
        here = [page for page in divisions if page.pool is not None and page.pool.period == period]
        if here and here[-1].statement.valuation == valuation:
            return _term(here[-1], "before")
        # What was replaced is never the last: its replacement was posted after it.
        return (_term(divisions[-1], "basis") or divisions[-1].statement.valuation) if divisions else None


def _term(page: Page, name: str) -> str | None:
    terms = page.policy.terms if page.policy is not None else {}
    return terms.get(name)
