"""What the pages of a run show, kept so that a payment can be added to them later, without the data behind them."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict, TypeAdapter

from royalty.infra.pages.combined import REPORT
from royalty.infra.pages.contributors import ContributorPage, render_pages
from royalty.infra.pages.language import SOURCE, Language, shipped_language
from royalty.infra.pages.report import Report, render_report
from royalty.infra.stores.artifacts import StoreError

PORTABLE = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


@dataclass(frozen=True)
class Contents:
    """The content of the report, and of the page of each contributor in its order.

    Attributes:
        pool: the amount that is divided, in the language of the contributors' pages.
        terms: sentences on the terms of the payout, in English, with amounts in that language.
        language: of the contributors' pages; the report is in English.
    """

    report: Report
    contributors: tuple[ContributorPage, ...]
    pool: str
    terms: tuple[str, ...]
    language: Language

    def to_bytes(self) -> bytes:
        return _adapter().dump_json((self.report, self.contributors, self.pool, self.terms, self.language))

    @classmethod
    def from_bytes(cls, payload: bytes) -> Contents:
        """Read what `to_bytes` wrote.

        Raises:
            pydantic.ValidationError: another version of Royalty wrote it, with other fields.
            StoreError: another version wrote it, with other texts.
        """
        contents = cls(*_adapter().validate_json(payload))
        if contents.language.sentences.keys() != shipped_language(SOURCE).sentences.keys():
            raise StoreError("another version of Royalty wrote them, with other texts")
        return contents

    def render(self) -> dict[str, str]:
        """The report, the index of contributors and a page for each, as HTML by file name."""
        report = self.report
        pages = render_pages(
            self.contributors,
            title=report.title,
            created_at=report.created_at,
            utility_name=report.utility_name,
            utility_meaning=report.utility_meaning,
            utilities=(report.null_utility, report.grand_utility),
            level=self.language.percent(f"{100 * report.confidence:g}%"),
            pool=self.pool,
            terms=self.terms,
            language=self.language,
            value=report.value,
            cheap_pairs=report.interactions is not None and report.interactions.cheap,
        )
        return {REPORT: render_report(report), **pages}


Kept = tuple[Report, tuple[ContributorPage, ...], str, tuple[str, ...], Language]


def _adapter() -> TypeAdapter[Kept]:
    return TypeAdapter(Kept, config=PORTABLE)
