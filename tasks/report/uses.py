"""Payouts by use as statements name them, and the credit that they stand beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from royalty.infra.ledger.postings import Posted
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.wording import counted
from royalty.infra.workspace import Workspace
from royalty.tasks.credit.estimate import load_table
from royalty.tasks.pay.usage_stages import USAGE, USE
from royalty.tasks.report.rows import readable


@dataclass(frozen=True)
class PersonsUse:
    """Fractions of the pool that a contributor gets for training and for use, and the generations that brought it."""

    training: float
    use: float
    generations: int


@dataclass(frozen=True)
class PoolByUse:
    """A table of credit and use that a pool was divided by.

    Attributes:
        credit: digest of the credit table that divides the training part; "" if there is no such part.
        generations: their number in the period.
        people: by contributor.
    """

    credit: str
    generations: int
    people: Mapping[str, PersonsUse]

    @property
    def sentence(self) -> str:
        """Parts of the pool, in English."""
        training, use = (sum(getattr(row, part) for row in self.people.values()) for part in ("training", "use"))
        return f"{training:.1%} of it for training and {use:.1%} for {counted(self.generations, 'generation')}"


Uses = Mapping[str, PoolByUse]
"""By the digest of the table that statements name."""


def uses_of(space: Workspace, statements: Iterable[Posted]) -> Uses:
    """What of the statements divided a pool by use; tables that are not in this workspace are left out."""
    named, found = {posted.valuation for posted in statements}, {}
    generations = {
        usage.outputs.usage: usage.outputs.generations
        for row in space.runs.stages(USAGE.name)
        if (usage := readable(USAGE, row)) is not None
    }
    for row in space.runs.stages(USE.name):
        use = readable(USE, row)
        if use is None or use.outputs.table not in named:
            continue
        try:
            table = load_table(space, use.outputs.table)
        except StoreError:
            continue
        people = {
            str(name): PersonsUse(*parts)
            for name, *parts in table[["contributor", "training", "use", "generations"]].itertuples(index=False)
        }
        found[use.outputs.table] = PoolByUse(use.inputs.credit, generations.get(use.inputs.usage, 0), people)
    return found


def credit_behind(posted: Posted, uses: Uses) -> str:
    """Digest of the credit table that a statement divides by, alone or beside use; its own without credit."""
    use = uses.get(posted.valuation)
    return use.credit if use is not None and use.credit else posted.valuation
