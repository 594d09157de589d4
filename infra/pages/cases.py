"""The page of a case: what is in dispute, the money that it holds, what was said, and the decision."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.infra.ledger.cases import Award, Case
from royalty.infra.ledger.money import formatted
from royalty.infra.pages.report import environment

OUTCOMES = {
    "release": "What the case held is released to its contributors.",
    "reverse": "What the case held returns to the reserve of its pools.",
}


@dataclass(frozen=True)
class CasePage:
    """Content of the page.

    Attributes:
        state: see `royalty.infra.ledger.cases.Case.state`.
        held: contributor, pool and amount that is held for the contributor now.
        missing: names of files of evidence whose content is not in this store.
    """

    case: Case
    state: str
    held: tuple[tuple[str, str, str], ...]
    missing: tuple[str, ...]

    @property
    def awards(self) -> list[tuple[str, str, str]]:
        """Giver, taker and amount of each award of the decision."""
        decision = self.case.decision
        awards = [Award(**award) for award in decision.body["awards"]] if decision else []
        return [(award.giver, award.taker, formatted(award.minor, award.currency)) for award in awards]


def render_case(page: CasePage) -> str:
    """Render the page as one HTML file without external resources."""
    return environment().get_template("case.html.j2").render(page=page, case=page.case, outcomes=OUTCOMES)
