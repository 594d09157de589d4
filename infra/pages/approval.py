"""The page of a payout that waits for a second person: who asked, why it waits, who is paid how much, the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.infra.ledger.approvals import Approval
from royalty.infra.pages.language import Language
from royalty.infra.pages.report import environment

SHOWN = 200
"""Most contributors whose amounts the page lists."""


@dataclass(frozen=True)
class ApprovalPage:
    """Content of the page."""

    approval: Approval

    @property
    def pool(self) -> str:
        request = self.approval.request
        return " ".join(filter(None, (request["pool"], request["period"])))

    def total(self, language: Language) -> str:
        request = self.approval.request
        return language.money(sum(request["gets"].values()), request["currency"])

    @property
    def paid(self) -> int:
        """Number of contributors who get money."""
        return sum(amount > 0 for amount in self.approval.request["gets"].values())

    def rows(self, language: Language) -> list[tuple[str, str, str]]:
        """Contributors with their accounts and amounts, highest first; negative amounts are taken back."""
        request = self.approval.request
        payees = request.get("content", {}).get("payees", {})
        ranked = sorted(request["gets"].items(), key=lambda row: (-row[1], row[0]))[:SHOWN]
        return [
            (name, payees[name][1] if name in payees else "", language.money(amount, request["currency"]))
            for name, amount in ranked
        ]


def render_approval(page: ApprovalPage, language: Language) -> str:
    """Render the page as one HTML file without external resources. Notes are quoted as people wrote them."""
    template = environment(language).get_template("approval.html.j2")
    return template.render(page=page, approval=page.approval, total=page.total(language), rows=page.rows(language))
