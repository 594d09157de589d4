"""A page for each contributor, and their index: HTML files without external resources."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from royalty.infra.pages.case_rows import CaseRow, OptOutRow
from royalty.infra.pages.interactions import PairRow
from royalty.infra.pages.language import Language
from royalty.infra.pages.report import NOT_SUMMING, Axis, ContributorRow, decimals_of, environment

INDEX = "index.html"


@dataclass(frozen=True)
class Tile:
    """An image, as PNG bytes, its value, and what its source says of it: empty where it says nothing.

    Attributes:
        file_name: the files that the contributor listed it as.
        about: its caption, its license and its date.
    """

    id: str
    image: bytes
    value: float
    file_name: str = ""
    about: str = ""


@dataclass(frozen=True)
class ImageValues:
    """Values of a contributor's images by one method.

    Attributes:
        method: its name, by which texts of a language tell what a value means.
        total, whole: sum of the values of the contributor's training images, and of all training images.
        share: the share of the contributor in the whole; None for a method with positive and negative values.
        tiles: the images of highest value, all above zero.
    """

    method: str
    total: float
    whole: float
    share: float | None
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class PartTile(Tile):
    """An image with its share of the contributor's credit and amount; `value` is its credit.

    Attributes:
        place: by share; 1 is the highest.
        amount: formatted money; empty if no amount is divided.
    """

    place: int = 0
    share: float = 0.0
    amount: str = ""


@dataclass(frozen=True)
class PartsOfImages:
    """A contributor's credit, divided among images.

    Attributes:
        images: number of images.
        references: held-out images of others that they were compared with.
        legible: whether an image counts as far as it shows its label.
        highest, lowest: images by share, highest first; together all of them, or those at both ends.
    """

    images: int
    references: int
    legible: bool
    highest: tuple[PartTile, ...]
    lowest: tuple[PartTile, ...]


@dataclass(frozen=True)
class HistoryRow:
    """A statement of the pool, or another one that names the contributor: its pool, with the period if it has one.

    Attributes:
        kind: `division`, `replacement` of an earlier division of the pool, `release` of held money, `correction`, or
            `decision` of a case.
        credit: None if its credit table is not in this store, or lacks the contributor.
        amount: what the statement paid, held, or added to the contributor's account.
        moved: sentences on what moved since the statement before, in the language of the page.
        uncredited: the credit table lacks the contributor.
    """

    pool: str
    posted: str
    kind: str
    credit: float | None
    amount: str
    active: bool
    moved: tuple[str, ...] = ()
    uncredited: bool = False


@dataclass(frozen=True)
class ContributorPage:
    """Content of a contributor's page.

    Attributes:
        among: number of contributors.
        remarks: why the payment differs from what the policy alone gives, as it is recorded, in English; amounts are in
            the language of the page. Empty if it does not differ.
        refusal: why nothing is paid; None if the pool is paid, or the division is proposed.
        proposed: the division was not posted.
        received: what was paid by this credit on other terms than those of the division, or by releases of held money;
            empty if nothing was.
        before, since, changes: credit in the last run of this name, its time, and the differences as name, old and new
            value; None if no earlier run credits this contributor.
        moved: sentences on what moved since that run, in the language of the page.
        pairs: the surest substitutes and complements of this contributor, surest first; None if pairs were not tested.
        cases: disputes about money of this contributor.
        optouts: works that this contributor withdrew.
        parts: the credit divided among images; None if it was not.
    """

    row: ContributorRow
    among: int
    remarks: tuple[str, ...]
    refusal: str | None
    values: tuple[ImageValues, ...]
    history: tuple[HistoryRow, ...]
    before: float | None
    since: str | None
    changes: tuple[tuple[str, str, str], ...] | None
    proposed: bool = False
    received: str = ""
    pairs: tuple[PairRow, ...] | None = None
    cases: tuple[CaseRow, ...] = ()
    optouts: tuple[OptOutRow, ...] = ()
    parts: PartsOfImages | None = None
    moved: tuple[str, ...] = ()


Completed = Callable[[ContributorPage], ContributorPage]


@dataclass(frozen=True)
class IndexRow:
    """Content of a row of the index.

    Attributes:
        file: the page of the contributor.
        before: see `ContributorPage`.
    """

    file: str
    row: ContributorRow
    before: float | None


def file_of(name: str) -> str:
    """Path of a contributor's page: the same in every run, and safe for any name."""
    return f"contributors/{hashlib.sha256(name.encode()).hexdigest()[:16]}.html"


def as_it_is(page: ContributorPage) -> ContributorPage:
    return page


def render_pages(
    pages: Iterable[ContributorPage],
    *,
    title: str,
    created_at: str,
    utility_name: str,
    utility_meaning: str,
    utilities: tuple[float, float],
    level: str,
    pool: str,
    terms: Sequence[str],
    language: Language,
    value: str = "shapley",
    cheap_pairs: bool = False,
    pipelines: int = 1,
    completed: Completed = as_it_is,
) -> Iterator[tuple[str, str]]:
    """Render the HTML files one after another, with their names, the index first; all charts share one scale.

    Args:
        pages: they are read twice, and not held in memory: the first time for the scale and the index.
        utilities: of the models of nobody and of everybody.
        terms: sentences on how credit becomes amounts, in English; amounts are in the language of the pages.
        language: of the texts; what it knows of the terms, the remarks and the measured property is translated.
        value: see `royalty.infra.pages.report.Report`.
        cheap_pairs: see `royalty.infra.pages.interactions.Interactions`.
        pipelines: number of pipelines of which credit is the mean.
        completed: adds to a page what the index does not show.
    """
    templates = environment(language)
    recorded = vars(templates.get_template("macros.html.j2").module)["recorded"]
    entries: list[IndexRow] = []
    part, pair = 0.0, 0.0
    for page in pages:
        entries.append(IndexRow(file_of(page.row.name), replace(page.row, strip=b""), page.before))
        part = max([part, *(abs(tile.value) for tile in _part_tiles(page))])
        pair = max([pair, *(pair.amount for pair in page.pairs or ())])
    ends = [end for entry in entries for end in (entry.row.ci_low, entry.row.ci_high)]
    shared = {
        "title": title,
        "created_at": created_at,
        "utility": recorded(utility_name, "recorded_property"),
        "utility_meaning": recorded(utility_meaning, "recorded_meaning"),
        "null_utility": utilities[0],
        "grand_utility": utilities[1],
        "value": value,
        "cheap_pairs": cheap_pairs,
        "pipelines": pipelines,
        "sums": value not in NOT_SUMMING,
        "level": level,
        "pool": pool,
        "terms": [recorded(sentence, "recorded_term") for sentence in terms],
        "tools": {
            name.removeprefix("tools_"): text for name, text in language.sentences.items() if name.startswith("tools_")
        },
        "axis": Axis.over([0.0, *ends]),
        "decimals": decimals_of(max(abs(entry.row.credit) for entry in entries)),
        "part_decimals": decimals_of(part),
        "pair_decimals": decimals_of(pair),
    }
    yield INDEX, templates.get_template("index.html.j2").render(entries=entries, **shared)
    template = templates.get_template("contributor.html.j2")
    for page in pages:
        yield file_of(page.row.name), template.render(page=completed(page), **shared)


def _part_tiles(page: ContributorPage) -> tuple[PartTile, ...]:
    return (*page.parts.highest, *page.parts.lowest) if page.parts else ()
