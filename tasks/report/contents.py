"""What the pages of a run show, kept so that a payment can be added to them later, without the data behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from royalty.infra.pages.combined import REPORT
from royalty.infra.pages.contributors import Completed, ContributorPage, as_it_is, render_pages
from royalty.infra.pages.language import SOURCE, Language, shipped_language
from royalty.infra.pages.report import Report, render_report
from royalty.infra.stores.artifacts import StoreError

PORTABLE = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


@dataclass(frozen=True)
class Contents:
    """The content of the report, and of the page of each contributor in its order.

    Attributes:
        contributors: read one after another, and more than once; those of very many contributors are not in memory.
        pool: the amount that is divided, in the language of the contributors' pages.
        terms: sentences on the terms of the payout, in English, with amounts in that language.
        language: of the contributors' pages; the report is in English.
        completed: adds to a contributor's page what is not kept and not in the index.
    """

    report: Report
    contributors: Iterable[ContributorPage]
    pool: str
    terms: tuple[str, ...]
    language: Language
    completed: Completed = as_it_is

    def pieces(self) -> Iterator[bytes]:
        """Lines of JSON: what all pages share, and then a page each."""
        yield _shared().dump_json((self.report, self.pool, self.terms, self.language)) + b"\n"
        adapter = _page()
        for page in self.contributors:
            yield adapter.dump_json((page,)) + b"\n"

    @classmethod
    def open(cls, file: Path) -> Contents:
        """Read a file of the `pieces`. The pages stay in the file.

        Raises:
            pydantic.ValidationError: another version of Royalty wrote it, with other fields.
            StoreError: another version wrote it, with other texts.
        """
        with file.open("rb") as lines:
            report, pool, terms, language = _shared().validate_json(next(lines, b""))
        if language.sentences.keys() != shipped_language(SOURCE).sentences.keys():
            raise StoreError("another version of Royalty wrote them, with other texts")
        return cls(report, KeptPages(file), pool, terms, language)

    def render(self) -> Iterator[tuple[str, str]]:
        """The report, the index of contributors and a page for each, as HTML, with their file names."""
        report = self.report
        yield REPORT, render_report(report)
        yield from render_pages(
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
            completed=self.completed,
            value=report.value,
            pipelines=report.pipelines,
            cheap_pairs=report.interactions is not None and report.interactions.cheap,
        )


@dataclass(frozen=True)
class KeptPages:
    """Pages in a file of contents. Each line is read when it is asked for."""

    file: Path

    def __iter__(self) -> Iterator[ContributorPage]:
        adapter = _page()
        with self.file.open("rb") as lines:
            next(lines)
            for line in lines:
                (page,) = adapter.validate_json(line)
                yield page


Shared = tuple[Report, str, tuple[str, ...], Language]


@cache
def _shared() -> TypeAdapter[Shared]:
    return TypeAdapter(Shared, config=PORTABLE)


@cache
def _page() -> TypeAdapter[tuple[ContributorPage]]:
    return TypeAdapter(tuple[ContributorPage], config=PORTABLE)
