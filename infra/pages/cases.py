"""The page of a case: what is in dispute, the money that it holds, what was said, and the decision."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.infra.ledger.cases import Award, Case
from royalty.infra.pages.language import Language
from royalty.infra.pages.report import environment


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

    def awards(self, language: Language) -> list[tuple[str, str, str]]:
        """Giver, taker and amount of each award of the decision."""
        decision = self.case.decision
        awards = [Award(**award) for award in decision.body["awards"]] if decision else []
        return [(award.giver, award.taker, language.money(award.minor, award.currency)) for award in awards]


def render_case(page: CasePage, language: Language) -> str:
    """Render the page as one HTML file without external resources. What people wrote is quoted as they wrote it."""
    template = environment(language).get_template("case.html.j2")
    return template.render(page=page, case=page.case, awards=page.awards(language))
