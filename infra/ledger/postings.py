"""What is posted to the ledger, and what it says of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class LedgerConflict(ValueError):
    """A posting contradicts what the ledger holds."""


class OthersPool(LedgerConflict):
    """A pool is divided already, by another run's credit."""


REVERSALS = {
    "payment": "reversal",
    "held": "held-reversal",
    "account": "account-reversal",
    "pool": "pool-reversal",
    "reserve": "reserve-reversal",
    "claims": "claims-reversal",
    "release": "release-reversal",
    "held-release": "held-release-reversal",
}
"""Kinds of entries, and the kinds that take them back.

A `payment` goes to a contributor now, what is `held` waits, as for the end of a dispute, and an `account` entry is by
how much that which is left for later pools, less what is owed, has changed. A `release` pays what was held, which a
`held-release` takes from there. The pool's own accounts are those of no contributor: `pool` is what it gave, negative;
`reserve` what it kept; and `claims` by how much that which contributors owe it has changed.
"""

RELEASED = {"payment": "release", "held": "held-release"}
HOUSE = ""
"""The contributor of the pool's own accounts."""


@dataclass(frozen=True)
class Posting:
    """What a pool is divided into by a valuation, in minor units.

    Attributes:
        valuation: digest of the credit table that the amounts follow from.
        amounts: for each contributor, paid now.
        held: what waits, as for the end of a dispute.
        accounts: by how much contributors' accounts change.
        reserve, claims: what the pool keeps, and by how much it is owed more.
        pool: what is divided; the rest must sum to it. None: whatever the rest sums to.
        source: the run whose credit it is.
        terms: what was divided by.
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

    @property
    def entries(self) -> list[tuple[str, str, int]]:
        """Kind, contributor and amount of each entry; the pool's own are left out where they are zero."""
        return [*self._placed, ("pool", HOUSE, -self.given)]

    @property
    def given(self) -> int:
        """What the pool gives."""
        return sum(amount for _, _, amount in self._placed) if self.pool is None else self.pool

    @property
    def _placed(self) -> list[tuple[str, str, int]]:
        by_kind = {"payment": self.amounts, "held": self.held, "account": self.accounts}
        own = [(kind, name, amount) for kind, amounts in by_kind.items() for name, amount in amounts.items()]
        house = {"reserve": self.reserve, "claims": self.claims}
        return own + [(kind, HOUSE, amount) for kind, amount in house.items() if amount]


@dataclass(frozen=True)
class Posted:
    """A statement as it was posted.

    Attributes:
        pool, period: what was divided.
        kind: `division`, or `release` of what one held.
        valuation: digest of the credit table.
        sequence: its position in the chain of all statements.
        amount: of the pool, in minor units.
        paid: minor units by contributor.
        moved: minor units that a contributor gets by this statement, what it takes back subtracted; negative is
            what they have been paid too much before.
        active: no later statement has replaced it.
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


@dataclass(frozen=True)
class Verified:
    """What walking the chain found.

    Attributes:
        statements: that hold, from the first.
        head: hash of the last of them; kept elsewhere, it shows later that none has been taken away.
        broken: the first statement that does not hold; None if all do, and no entry is outside of them.
        why: it does not.
        entry: the first entry of a statement that is not there; `broken` is the id that it names.
    """

    statements: int
    head: str
    broken: str | None
    why: str | None
    entry: int | None = None

    @property
    def problem(self) -> str:
        """What does not hold, as a sentence says it; empty if all does."""
        return "" if self.broken is None else f"statement {self.broken} does not hold: {self.why}"


class LedgerBroken(LedgerConflict):
    """Money is asked of a ledger that does not verify."""

    def __init__(self, verified: Verified) -> None:
        super().__init__(verified)  # what it is made of again in another process
        self.verified = verified

    def __str__(self) -> str:
        return (
            f"money is counted and paid by a ledger that verifies, and {self.verified.problem}. Nothing was posted. "
            "Restore the database from a backup, and pay nobody by this one; `royalty ledger` verifies it"
        )
