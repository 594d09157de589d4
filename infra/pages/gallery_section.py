"""The section of the report about a gallery: models with and without contributors of highest credit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GalleryRow:
    """Models of one coalition.

    Attributes:
        strip: PNG of images by the first of them; None if it was not sampled.
        ci_low, ci_high: 95% interval over training seeds; both `value` for one seed.
    """

    name: str
    strip: bytes | None
    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class GallerySection:
    """The main figure of a gallery, and where the rest of it is.

    Attributes:
        page: file of the gallery beside the report.
        seeds: trainings of each model.
        rows: everybody, without those of highest credit, and nobody.
    """

    page: str
    seeds: int
    rows: tuple[GalleryRow, ...]

    @property
    def axis_values(self) -> list[float]:
        return [end for row in self.rows for end in (row.ci_low, row.ci_high)]

    @property
    def largest(self) -> float:
        return max((abs(row.value) for row in self.rows), default=0.0)
