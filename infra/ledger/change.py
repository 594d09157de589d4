"""What a posting changes: whose money, by how much, what it replaces, and what was paid already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from royalty.infra.ledger.postings import HOUSE, LedgerConflict, Posted

Corrections = Literal["carry", "reverse"]


class Entry(NamedTuple):
    """An entry that is about to be posted; its fields are columns of `royalty.infra.stores.tables.EntryRow`."""

    kind: str
    contributor: str
    valuation: str
    amount_minor: int


BASE = {
    "release": "payment",
    "held-release": "held",
    "award": "account",
    "held-award": "held",
    "reserve-award": "reserve",
}
"""Kinds of entries that move money within a pool, and the kind whose total they change."""

TOTALS = {
    "payment": "paid",
    "held": "held",
    "account": "on accounts",
    "reserve": "kept in reserve",
    "claims": "owed to the pool",
    "withheld": "withheld as tax",
}
"""Kinds of entries, and how their totals are called. They sum to the pool."""


@dataclass(frozen=True)
class Money:
    """Money of one contributor, or of a whole pool, in minor units.

    Attributes:
        paid: paid out, with what was released.
        held: waiting, for example for the end of a dispute.
        account: left for later payouts; negative is owed.
        reserve, claims: of the pool: what it keeps, and what it is owed.
        withheld: withheld from payments as tax.
    """

    paid: int = 0
    held: int = 0
    account: int = 0
    reserve: int = 0
    claims: int = 0
    withheld: int = 0

    @property
    def due(self) -> int:
        """All that belongs to a contributor: paid, withheld as tax, held and on account."""
        return self.paid + self.withheld + self.held + self.account

    def __add__(self, other: Money) -> Money:
        return Money(*(mine + theirs for mine, theirs in zip(self.parts, other.parts, strict=True)))

    @property
    def parts(self) -> tuple[int, ...]:
        return self.paid, self.held, self.account, self.reserve, self.claims, self.withheld


@dataclass(frozen=True)
class PersonChange:
    """Money of a contributor in a pool before and after a posting."""

    contributor: str
    before: Money
    after: Money

    @property
    def gets(self) -> int:
        """Minor units that the contributor is paid by this posting; negative is to be given back."""
        return self.after.paid - self.before.paid

    @property
    def loses(self) -> int:
        """Minor units that are taken back: of what was paid, or of what is due; 0 if nothing is."""
        return max(0, self.before.paid - self.after.paid, self.before.due - self.after.due)


@dataclass(frozen=True)
class PoolChange:
    """What a posting changes in a pool, before it is posted.

    Attributes:
        kind: `division`, or `correction` of a division by the accounts of its contributors.
        repeats: the statement that already holds this division; nothing changes then.
        replaces: the statement that is reversed or corrected; None for a first division.
        returns: the pool was divided by this credit table before, and follows another one now.
        elsewhere: statements of other pools or periods that were divided by the same credit table.
        people: every contributor with money in the pool before or after, in the order of the posting.
        totals: the whole pool before and after.
    """

    pool: str
    period: str
    currency: str
    kind: str
    repeats: Posted | None
    replaces: Posted | None
    returns: bool
    elsewhere: tuple[Posted, ...]
    people: tuple[PersonChange, ...]
    totals: tuple[Money, Money]

    @property
    def taken_back(self) -> dict[str, int]:
        """Minor units by contributor that the posting takes back; a first division takes nothing back."""
        return {} if self.replaces is None else {row.contributor: row.loses for row in self.people if row.loses}

    @property
    def needs_agreement(self) -> bool:
        """Whether it is posted only if somebody agrees: it takes money back, or returns to an earlier credit table."""
        return bool(self.taken_back) or self.returns


class TakesBack(LedgerConflict):
    """A posting takes money back, or returns to an earlier credit table, and nobody has agreed to that."""


class AnyEntry(Protocol):
    """An entry, posted or not."""

    @property
    def kind(self) -> str: ...
    @property
    def contributor(self) -> str: ...
    @property
    def amount_minor(self) -> int: ...


def money_by_contributor(entries: Iterable[AnyEntry]) -> dict[str, Money]:
    """Sum entries; reversals cancel what they reverse.

    Returns:
        Money by contributor, in the order of the entries; that of the pool itself under `HOUSE`.
    """
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in entries:
        kind = "payment" if entry.kind == "reversal" else entry.kind.removesuffix("-reversal")
        sums[entry.contributor][BASE.get(kind, kind)] += entry.amount_minor
    return {name: Money(*(kinds[kind] for kind in TOTALS)) for name, kinds in sums.items()}


def people_of(before: Mapping[str, Money], entries: Sequence[AnyEntry]) -> tuple[PersonChange, ...]:
    """Money of every contributor before and after entries are added."""
    added = money_by_contributor(entries)
    names = [name for name in dict.fromkeys([*added, *before]) if name != HOUSE]
    none = Money()
    return tuple(
        PersonChange(name, before.get(name, none), before.get(name, none) + added.get(name, none)) for name in names
    )


def total(money: Iterable[Money]) -> Money:
    """The sum."""
    whole = Money()
    for part in money:
        whole += part
    return whole
