"""Cases and opt-outs as pages of payouts and of contributors list them."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.infra.ledger.cases import Case
from royalty.infra.ledger.optouts import OptOut


@dataclass(frozen=True)
class CaseRow:
    """A case as pages of payouts and of contributors list it."""

    id: str
    state: str
    reason: str
    claimant: str
    deadline: str
    opened: str

    @classmethod
    def of(cls, case: Case, state: str) -> CaseRow:
        return cls(case.id, state, case.reason, case.claimant, case.deadline, case.opened_at)


@dataclass(frozen=True)
class OptOutRow:
    """An opt-out as the page of its contributor lists it; without works, it is of all."""

    id: str
    works: tuple[str, ...]
    recorded: str

    @classmethod
    def of(cls, optout: OptOut) -> OptOutRow:
        return cls(optout.id, optout.works, optout.act.created_at)
