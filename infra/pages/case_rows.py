"""Cases as pages of payouts and of contributors list them."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.infra.ledger.cases import Case


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
