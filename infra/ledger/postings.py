"""Postings to the ledger, posted statements, and the result of verification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from royalty.infra.errors import Refusal


class LedgerConflict(Refusal, ValueError):
    """A posting contradicts what the ledger holds."""


class OthersPool(LedgerConflict):
    """A pool was already divided by another run's credit."""


REVERSALS = {
    "payment": "reversal",
    "withheld": "withheld-reversal",
    "held": "held-reversal",
    "account": "account-reversal",
    "pool": "pool-reversal",
    "reserve": "reserve-reversal",
    "claims": "claims-reversal",
    "release": "release-reversal",
    "held-release": "held-release-reversal",
}
"""Kinds of entries, and the kinds that reverse them.

A `payment` goes to a contributor now, and what is `withheld` of it goes to a tax authority. `held` money waits, for
example for the end of a dispute. An `account` entry is the change of the balance that later pools bring forward, less
what the contributor owes. A `release` pays held money, which a `held-release` takes from there. The pool's own accounts
belong to no contributor: `pool` is the amount that it gave, negative; `reserve` is what it kept; `claims` is the change
of what contributors owe it.
"""

RELEASED = {"payment": "release", "held": "held-release"}
AWARDS = ("award", "held-award", "reserve-award")
"""Kinds of entries by which the decision of a case moves money: on accounts, out of what is held, and to the reserve.

They stand whatever becomes of the credit, so that corrections leave them out.
"""
HOUSE = ""
"""The contributor of the pool's own accounts."""


@dataclass(frozen=True)
class Posting:
    """The division of a pool by a valuation, in minor units.

    Attributes:
        valuation: digest of the credit table that the amounts follow from.
        amounts: amount paid now, by contributor.
        held: amount held, by contributor, for example for the end of a dispute.
        withheld: tax withheld from payments, by contributor.
        accounts: change of each contributor's account.
        reserve, claims: amount that the pool keeps, and the increase of what contributors owe it.
        pool: amount that is divided; the other amounts must sum to it. None: the sum of the other amounts.
        source: the run that the credit comes from.
        terms: terms of the division.
        evidence: what the division rests on; see `royalty.infra.ledger.evidence`.
    """

    valuation: str
    currency: str
    amounts: Mapping[str, int]
    held: Mapping[str, int] = field(default_factory=dict)
    accounts: Mapping[str, int] = field(default_factory=dict)
    reserve: int = 0
    claims: int = 0
    pool: int | None = None
    source: str | None = None
    terms: Mapping[str, Any] | None = None
    evidence: Mapping[str, Any] | None = None
    withheld: Mapping[str, int] = field(default_factory=dict)

    @property
    def entries(self) -> list[tuple[str, str, int]]:
        """Kind, contributor and amount of each entry; the pool's own entries are omitted if they are zero."""
        return [*self._placed, ("pool", HOUSE, -self.gross)]

    @property
    def gross(self) -> int:
        """The amount that the pool gives."""
        return sum(amount for _, _, amount in self._placed) if self.pool is None else self.pool

    @property
    def _placed(self) -> list[tuple[str, str, int]]:
        by_kind = {
            "payment": self.amounts,
            "held": self.held,
            "withheld": self.withheld,
            "account": self.accounts,
        }
        personal = [(kind, name, amount) for kind, amounts in by_kind.items() for name, amount in amounts.items()]
        house = {"reserve": self.reserve, "claims": self.claims}
        return personal + [(kind, HOUSE, amount) for kind, amount in house.items() if amount]


@dataclass(frozen=True)
class Posted:
    """A statement as it was posted.

    Attributes:
        pool, period: name and period of the pool.
        kind: `division`; `release` of held money; `correction` of a division by accounts, which pays nothing now; or
            `export` of payment files, which moves nothing.
        valuation: digest of the credit table.
        sequence: position in the chain of all statements.
        amount: amount of the pool, in minor units.
        paid: minor units by contributor.
        moved: minor units that a contributor gets by this statement, net of its reversals; negative if an earlier
            statement paid too much.
        active: no later statement has replaced this one.
        held, accounts: minor units by contributor that this statement holds, and adds to what later payouts bring
            forward; negative is released or reversed, and owed.
        withheld: minor units by contributor that this statement withholds as tax, net of its reversals.
        reversed: minor units of earlier payments that this statement takes back.
        evidence: digest of what it rests on; None for statements of earlier versions.
    """

    id: str
    pool: str
    period: str
    kind: str
    valuation: str
    source: str | None
    policy: str | None
    sequence: int
    created_at: str
    currency: str
    amount: int
    hash: str
    paid: Mapping[str, int]
    moved: Mapping[str, int]
    active: bool = True
    held: Mapping[str, int] = field(default_factory=dict)
    accounts: Mapping[str, int] = field(default_factory=dict)
    reversed: int = 0
    evidence: str | None = None
    withheld: Mapping[str, int] = field(default_factory=dict)

    def concerns(self, contributor: str) -> bool:
        """Whether the statement names a contributor."""
        return any(contributor in amounts for amounts in (self.paid, self.moved, self.held, self.accounts))


class Head(NamedTuple):
    """The hash of a statement, which stands for all statements up to its position."""

    position: int
    head: str
    statement: str


@dataclass(frozen=True)
class Verified:
    """Result of verifying the ledger.

    Attributes:
        statements: number of valid statements, from the first.
        head: hash of the last valid statement; a copy kept elsewhere shows later that no statement was removed.
        broken: ID of the first invalid statement or row; None if all are valid and every row belongs to one.
        why: why it is invalid.
        entry: the first entry that names a missing statement; `broken` is then the ID of that statement.
        noun: what `broken` identifies.
    """

    statements: int
    head: str
    broken: str | None
    why: str | None
    entry: int | None = None
    noun: str = "statement"

    @property
    def problem(self) -> str:
        """What is invalid and the reason, as a sentence; empty if there is nothing."""
        return "" if self.broken is None else f"{self.noun} {self.broken} is not valid: {self.why}"


class LedgerBroken(LedgerConflict):
    """The ledger does not verify, so nothing can be paid from it."""

    def __init__(self, verified: Verified) -> None:
        super().__init__(verified)  # the argument from which unpickling recreates it in another process
        self.verified = verified

    def __str__(self) -> str:
        return (
            f"payments need a ledger that verifies, but {self.verified.problem}. Nothing was posted. Restore the "
            "database from a backup, and make no payment from this one; `royalty ledger` verifies it"
        )
