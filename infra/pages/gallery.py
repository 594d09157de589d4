"""What credit was measured from, for contributors to look at: one HTML file without external resources."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.infra.pages.gallery_section import GalleryRow
from royalty.infra.pages.report import Axis, decimals_of, environment


@dataclass(frozen=True)
class PropertyChart:
    """A property of all shown models."""

    title: str
    meaning: str
    rows: tuple[GalleryRow, ...]

    @property
    def axis(self) -> Axis:
        """A scale around all intervals."""
        return Axis.over([end for row in self.rows for end in (row.ci_low, row.ci_high)])

    @property
    def decimals(self) -> int:
        """Of the values that are shown; one more than on the scale at least, so that different marks differ."""
        return max(decimals_of(max(abs(row.value) for row in self.rows)), self.axis.decimals + 1)


@dataclass(frozen=True)
class OwnRow:
    """A contributor: credit, number of training images, and properties of these; None where there are too few."""

    name: str
    credit: float
    images: int
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class GalleryPage:
    """Content of the page.

    Attributes:
        method: how the models were made.
        seeds: trainings of each model.
        hidden: contributors whose models alone are not shown.
        variety: titles of the properties of contributors' own images.
        own: highest credit first.
        agreements: sentences on how these go with credit.
    """

    title: str
    method: str
    seeds: int
    hidden: int
    charts: tuple[PropertyChart, ...]
    variety: tuple[str, ...]
    own: tuple[OwnRow, ...]
    agreements: tuple[str, ...]


def render_gallery(page: GalleryPage) -> str:
    """Render the page."""
    decimals = decimals_of(max(abs(row.credit) for row in page.own))
    return environment().get_template("gallery.html.j2").render(page=page, decimals=decimals)
