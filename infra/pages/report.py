"""The contributor report: one self-contained HTML file."""

from __future__ import annotations

import hashlib
import struct
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from math import ceil, floor, log10

from jinja2 import Environment, PackageLoader, StrictUndefined


@dataclass(frozen=True)
class ContributorRow:
    """One contributor; credit in units of the utility, `amount` as formatted money.

    Attributes:
        distinguishable: the confidence interval of the credit does not contain zero.
        strip: PNG bytes of some of the contributor's images, side by side.
    """

    name: str
    items: int
    credit: float
    stderr: float
    ci_low: float
    ci_high: float
    share: float
    amount: str
    strip: bytes

    @property
    def distinguishable(self) -> bool:
        return self.ci_low > 0 or self.ci_high < 0


@dataclass(frozen=True)
class ModelRow:
    """A model on the way: its size, seconds of one step of sampling all images, and the utility of what it makes."""

    name: str
    parameters: int
    multiply_adds: int
    step_seconds: float
    utility: float


@dataclass(frozen=True)
class MatchRow:
    """A generated image, and what stands behind it.

    Attributes:
        image, strip: PNG bytes of it, and of the training images of highest score, side by side.
        names: contributors, and the share of the image's value that each has, largest first.
    """

    image: bytes
    strip: bytes
    names: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Matches:
    """Who stands behind what everybody's model makes (GMValuator).

    Attributes:
        images: generated images that were matched.
        shown: some of them.
        shares: of all value, by contributor, in the order of credit.
        agreement: rank correlation of these shares with credit, Spearman's; None where either does not vary.
        diagnostics: name and value of what says how far to trust it.
    """

    images: int
    shown: tuple[MatchRow, ...]
    shares: tuple[tuple[str, float], ...]
    agreement: float | None
    diagnostics: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Report:
    """All that the report says. Rows come in the order of credit, highest first.

    Attributes:
        utility_name, utility_meaning: what was measured, and in words.
        null_utility, grand_utility, real_utility: of nobody's model, of everybody's, and of held-out real images.
        coalitions: distinct ones that were measured, nobody and everybody included.
        coalition_model, interval_covers: what the model of a coalition is, and what the intervals depend on.
        generated: PNG bytes of a sheet of generated images.
        matches: who stands behind what everybody's model makes.
        paid: of the pool, now.
        statement: of the ledger; None where nothing was posted.
        refusal: why nothing is paid, if nothing is.
        remarks: names, and why they are paid another amount than the policy alone gives.
        checks: sentences on what the payout would be if two contributors were one person, or one were two.
        notes: sentences about the data, such as shared copies.
        settings: name and value of every setting.
        timings: stage, wall seconds, compute seconds (training, sampling, measuring), reused.
        identifiers: what it is, and the id or digest that leads back to it.
    """

    title: str
    created_at: str
    utility_name: str
    utility_meaning: str
    null_utility: float
    grand_utility: float
    real_utility: float
    coalitions: int
    coalition_model: str
    interval_covers: str
    confidence: float
    rows: tuple[ContributorRow, ...]
    models: tuple[ModelRow, ...]
    step_images: int
    generated: bytes
    matches: Matches
    paid: str
    pool: str
    pool_name: str
    statement: str | None
    refusal: str | None
    policy: str
    remarks: tuple[tuple[str, str], ...]
    checks: tuple[str, ...]
    diagnostics: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    timings: tuple[tuple[str, str, str, str], ...]
    identifiers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Axis:
    """A horizontal scale with ticks at multiples of a step; places on it are percentages of its width."""

    low: float
    high: float
    step: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Axis:
        """Around all values, in steps of 1, 2 or 5 times a power of ten: the least that make six steps at most."""
        margin = 0.05 * (max(values) - min(values)) or 1.0
        low, high = min(values) - margin, max(values) + margin
        unit = 10.0 ** floor(log10((high - low) / 6))
        return cls(low, high, next(factor * unit for factor in (1, 2, 5, 10, 20) if 6 * factor * unit >= high - low))

    @property
    def ticks(self) -> list[float]:
        return [index * self.step for index in range(ceil(self.low / self.step), floor(self.high / self.step) + 1)]

    @property
    def decimals(self) -> int:
        return max(0, -floor(log10(self.step) + 1e-9))

    def at(self, value: float) -> str:
        return f"{100 * (value - self.low) / (self.high - self.low):.3f}%"


@dataclass(frozen=True)
class Picture:
    """A PNG image as an address of its own, and the size to show it at."""

    uri: str
    width: int
    height: int
    enlarged: bool


def template_digest() -> str:
    """SHA-256 of what the report looks like, apart from its content."""
    templates = sorted(files("royalty.infra.pages").joinpath("templates").iterdir(), key=lambda entry: entry.name)
    return hashlib.sha256(b"".join(entry.read_bytes() for entry in templates)).hexdigest()


def environment() -> Environment:
    """Templates in which every value is escaped, and none that is missing passes for empty."""
    made = Environment(
        loader=PackageLoader("royalty.infra.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": _number, "percent": _percent, "date": _date, "picture": _picture}
    return made


def render_report(report: Report) -> str:
    """The report as one HTML file that loads nothing from elsewhere."""
    ends = [end for row in report.rows for end in (row.ci_low, row.ci_high)]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            credit_axis=Axis.over([0.0, *ends]),
            utility_axis=Axis.over([report.null_utility, report.grand_utility, report.real_utility]),
            decimals=decimals_of(max(abs(row.credit) for row in report.rows)),
        )
    )


def decimals_of(largest: float) -> int:
    """Decimals that show three digits of the largest of some numbers."""
    return min(6, max(0, 2 - floor(log10(largest)))) if largest else 2


def _number(value: float, decimals: int = 0, signed: bool = False) -> str:
    """A number with a true minus sign, and with a plus sign if asked; what rounds to zero has neither."""
    if round(value, decimals) == 0:
        return f"{0:.{decimals}f}"
    return format(value, f"{'+' if signed else ''},.{decimals}f").replace("-", "\N{MINUS SIGN}")


def _percent(share: float) -> str:
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _date(text: str) -> str:
    """An ISO 8601 date and time in words; any other text as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.day} {moment:%B %Y, %H:%M %Z}".strip()


def _picture(png: bytes, width: int, height: int) -> Picture:
    """As large as fits into a box, and a whole number of times its own size if that is smaller than the box."""
    own_width, own_height = struct.unpack(">II", png[16:24])  # of the IHDR chunk, which is always first
    factor = min(width / own_width, height / own_height)
    factor = floor(factor) if factor >= 1 else factor
    return Picture(
        uri="data:image/png;base64," + b64encode(png).decode("ascii"),
        width=max(1, round(own_width * factor)),
        height=max(1, round(own_height * factor)),
        enlarged=factor >= 1,
    )
