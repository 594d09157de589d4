"""A page for each contributor, and the index of them: HTML files that load nothing from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from royalty.infra.pages.report import Axis, ContributorRow, decimals_of, environment

INDEX = "index.html"


@dataclass(frozen=True)
class Tile:
    """An image, as PNG bytes, and its value."""

    id: str
    image: bytes
    value: float


@dataclass(frozen=True)
class ImageValues:
    """What a contributor's images are worth by one method.

    Attributes:
        meaning: of a value, a sentence.
        total, share: of all the contributor's images, and of what everybody's images have; a share is None for a
            method whose values have two signs.
        tiles: the images of highest value; none has a value of zero or less.
    """

    method: str
    meaning: str
    total: float
    share: float | None
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class HistoryRow:
    """A statement that names the contributor; `credit` is None where its table is not kept here."""

    pool: str
    posted: str
    credit: float | None
    amount: str
    active: bool


@dataclass(frozen=True)
class ContributorPage:
    """All that the page of a contributor says.

    Attributes:
        rank, among: place by credit, 1 is highest, of how many.
        remark: why the payment differs from what the policy alone gives; empty if it does not.
        refusal: why nothing is paid, if nothing is.
        before, since, changes: credit in the last run of this name, when that was, and what differs, as name, then and
            now; None where no earlier run credits this contributor.
    """

    row: ContributorRow
    rank: int
    among: int
    remark: str
    refusal: str | None
    values: tuple[ImageValues, ...]
    history: tuple[HistoryRow, ...]
    before: float | None
    since: str | None
    changes: tuple[tuple[str, str, str], ...] | None


def file_of(name: str) -> str:
    """Where the page of a contributor is: the same place in every run, whatever the name holds."""
    return f"contributors/{hashlib.sha256(name.encode()).hexdigest()[:16]}.html"


def render_pages(
    pages: Sequence[ContributorPage],
    *,
    title: str,
    created_at: str,
    utility_name: str,
    level: str,
    pool: str,
) -> dict[str, str]:
    """HTML by file name, the index first; all numbers share one scale."""
    ends = [end for page in pages for end in (page.row.ci_low, page.row.ci_high)]
    shared = {
        "title": title,
        "created_at": created_at,
        "utility_name": utility_name,
        "level": level,
        "pool": pool,
        "axis": Axis.over([0.0, *ends]),
        "decimals": decimals_of(max(abs(page.row.credit) for page in pages)),
    }
    made = environment()
    entries = [(file_of(page.row.name), page) for page in pages]
    files = {INDEX: made.get_template("index.html.j2").render(entries=entries, **shared)}
    template = made.get_template("contributor.html.j2")
    return files | {file: template.render(page=page, **shared) for file, page in entries}
