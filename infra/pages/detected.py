"""The worst images of a detection by kind of fault: one HTML file without external resources."""

from __future__ import annotations

from dataclasses import dataclass

from royalty.infra.pages.report import environment


@dataclass(frozen=True)
class Suspect:
    """An item with a low score.

    Attributes:
        image, nearest: PNG bytes of the image, and of the nearest clean images side by side; None for features.
        nearest_names: names of the nearest clean items.
        suggested, probability: the most probable label by the clean items, and its probability.
        p: p-value of the kind of fault.
    """

    id: str
    file_name: str
    image: bytes | None
    nearest: bytes | None
    nearest_names: str
    label: str
    suggested: str
    probability: float
    p: float
    flagged: bool

    @property
    def p_text(self) -> str:
        return f"{self.p:.1g}" if self.p < 0.001 else f"{self.p:.3f}"


@dataclass(frozen=True)
class Section:
    """A kind of fault: its items of lowest score, lowest first, and the number of flagged ones."""

    title: str
    meaning: str
    flagged: int
    suspects: tuple[Suspect, ...]


@dataclass(frozen=True)
class DetectedPage:
    """Content of the page.

    Attributes:
        calibrated: whether items were compared with clean ones; else with each other.
        notes: sentences that a reader must know.
    """

    title: str
    items: int
    flagged: int
    fdr: float
    calibrated: bool
    notes: tuple[str, ...]
    sections: tuple[Section, ...]


def render_detected(page: DetectedPage) -> str:
    """Render the page."""
    return environment().get_template("detected.html.j2").render(page=page)
