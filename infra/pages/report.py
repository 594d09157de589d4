"""The contributor report: one self-contained HTML file."""

from __future__ import annotations

import hashlib
import struct
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from math import ceil, floor, log10

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.filters import do_mark_safe

from royalty.infra.pages.case_rows import CaseRow
from royalty.infra.pages.cells import rank_text
from royalty.infra.pages.gallery_section import GallerySection
from royalty.infra.pages.interactions import Interactions
from royalty.infra.pages.language import SOURCE, Language, shipped_language
from royalty.infra.wording import counted


@dataclass(frozen=True)
class ContributorRow:
    """One contributor; credit in units of the utility, `amount` as formatted money.

    Attributes:
        items: distinct images that were trained on.
        held_out: distinct images that were kept out of training; None if unknown.
        rank_best, rank_worst: ranks by credit that the intervals leave; 1 is the highest.
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
    rank_best: int
    rank_worst: int
    held_out: int | None = None

    @property
    def rank(self) -> str:
        return rank_text(self.rank_best, self.rank_worst)

    @property
    def told_from_nobody(self) -> bool:
        """Whether the interval excludes nobody's credit, which is zero."""
        return self.ci_low > 0 or self.ci_high < 0


@dataclass(frozen=True)
class PaymentRow:
    """A statement that was posted by the credit of a run.

    Attributes:
        pool: its name, with the period if it has one.
        what: what the statement did, and the money that it moved.
        fate: whether it is in force, or what corrected or replaced it, and when.
    """

    pool: str
    posted: str
    what: str
    statement: str
    fate: str


@dataclass(frozen=True)
class ModelRow:
    """A model of the run: its size, seconds of one sampling step of all images, and the utility of its images."""

    name: str
    parameters: int
    multiply_adds: int
    step_seconds: float
    utility: float


@dataclass(frozen=True)
class SourceRow:
    """A training image that contributes to a generated one.

    Attributes:
        image: PNG bytes.
        names: its contributors.
        share: of the generated image's value.
        about: its caption, license and date, where its source states them.
    """

    image: bytes
    names: tuple[str, ...]
    share: float
    about: str


@dataclass(frozen=True)
class MatchRow:
    """A generated image, and the training images that contribute to it.

    Attributes:
        image: PNG bytes.
        asked: the label or prompt that the generator was told; empty if it was told nothing.
        sources: the training images of highest score, highest first.
        names: some contributors with their shares of the image's value, largest first.
    """

    image: bytes
    asked: str
    sources: tuple[SourceRow, ...]
    names: tuple[tuple[str, float], ...]

    @property
    def others(self) -> float:
        """The share of the contributors who are not named; 0 if it is below a thousandth."""
        rest = 1 - sum(share for _, share in self.names)
        return rest if rest >= 0.001 else 0.0


@dataclass(frozen=True)
class CopyRow:
    """A generated image that was flagged as a copy, and the training image nearest to it.

    Attributes:
        image, source: PNG bytes of both.
        names: contributors of the training image.
        about: its caption, license and date, where its source states them.
        p_value: probability that an image that was not trained on is as close.
    """

    image: bytes
    source: bytes
    names: tuple[str, ...]
    about: str
    p_value: float


@dataclass(frozen=True)
class Matches:
    """Contributors to the images of the grand model (GMValuator).

    Attributes:
        images: number of generated images that were matched.
        shown: some of them.
        shares: shares of the total value, by contributor, in the order of credit.
        agreement: Spearman rank correlation of these shares with credit; None if either does not vary.
        diagnostics: names and values of the match's diagnostics.
        copied, copies: number of generated images that were flagged as copies, None if none was tested; some of them.
    """

    images: int
    shown: tuple[MatchRow, ...]
    shares: tuple[tuple[str, float], ...]
    agreement: float | None
    diagnostics: tuple[tuple[str, str], ...]
    copied: int | None = None
    copies: tuple[CopyRow, ...] = ()


@dataclass(frozen=True)
class Alphabet:
    """An image of each label by the model of all contributors, which is told the label.

    Attributes:
        drawn: labels, and PNG bytes of their images.
        legible: fraction of `images` that the run's classifier reads as the label that was asked for.
    """

    drawn: tuple[tuple[str, bytes], ...]
    legible: float
    images: int


@dataclass(frozen=True)
class Report:
    """Content of the report. Rows are in the order of credit, highest first.

    Attributes:
        leader, headline: the first sentence; it begins with the contributor who surely has the highest credit, or with
            nobody.
        utility_name, utility_meaning: name of the measured property, and a sentence on it.
        null_utility, grand_utility, real_utility: utility of the null coalition's model, of the grand coalition's, and
            of held-out real images.
        coalitions: number of distinct coalitions measured, null and grand coalition included.
        coalition_model, interval_covers: description of a coalition's model, and of what the intervals cover.
        generated: PNG bytes of a sheet of generated images.
        matches: contributors to the images of the grand model.
        alphabet: an image of each label by the grand model; None for a generator that is not told labels.
        paid: amount paid from the pool now.
        statement: ID of the statement in force that posted this division; None for a proposal.
        payments: all statements that were posted by this credit, on these terms or others, oldest first.
        refusal: why nothing is paid; None if the pool is paid.
        remarks: names of contributors whose payment differs from what the policy alone gives, and why.
        checks: sentences on what the payout would be if two contributors were one person, or one were two.
        notes: sentences about the data, such as shared copies.
        settings: name and value of every setting.
        timings: stage, wall seconds, compute seconds (training, sampling, measuring), reused.
        identifiers: names of records, and their IDs or digests.
        interactions: pairs who are surely substitutes or complements; None in runs of earlier versions.
        cases: disputes about money of contributors.
        gallery: models with and without contributors of highest credit; None if none were made.
        value: the value that credit is, `shapley`, `banzhaf` or `beta`; or of what it is a Shapley value, `images` or
            `groups`.
        pipelines: number of pipelines of which credit is the mean.
    """

    title: str
    created_at: str
    leader: str | None
    headline: str
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
    alphabet: Alphabet | None = None
    interactions: Interactions | None = None
    payments: tuple[PaymentRow, ...] = ()
    cases: tuple[CaseRow, ...] = ()
    gallery: GallerySection | None = None
    value: str = "shapley"
    pipelines: int = 1


@dataclass(frozen=True)
class Axis:
    """A horizontal scale with ticks at multiples of a step; places on it are percentages of its width."""

    low: float
    high: float
    step: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Axis:
        """An axis around all values; its step is the smallest 1, 2 or 5 times a power of ten with at most six steps."""
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
    """A PNG image as a data URI, its display size, and the width in pixels of the file."""

    uri: str
    width: int
    height: int
    enlarged: bool
    own_width: int


SCRIPT = "page.js"
NOT_SUMMING = frozenset({"banzhaf", "beta"})
"""Values that need not sum to the difference between the utilities of everybody and nobody."""


def template_digest() -> str:
    """SHA-256 of the templates and styles of the pages."""
    templates = sorted(files("royalty.infra.pages").joinpath("templates").iterdir(), key=lambda entry: entry.name)
    return hashlib.sha256(b"".join(entry.read_bytes() for entry in templates)).hexdigest()


def environment(language: Language | None = None) -> Environment:
    """The template environment: all values are escaped, and undefined values raise errors.

    Templates have `t`, by which texts are in a language; numbers and dates are written as in it. None is English.

    Templates have `script`, by which readers search, sort and group rows and enlarge pictures, and `script_source`, by
    which the content security policy of a page allows this script and no other.
    """
    templates = Environment(
        loader=PackageLoader("royalty.infra.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = files("royalty.infra.pages").joinpath("templates", SCRIPT).read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    templates.globals |= {"script": script, "script_source": f"'sha256-{digest}'"}
    spoken = language or shipped_language(SOURCE)
    templates.globals |= {"t": spoken.html, "language": spoken}
    templates.filters |= {
        "number": lambda *number, **how: spoken.localized(_number(*number, **how)),
        "percent": lambda share: spoken.percent(_percent(share)),
        "date": lru_cache(maxsize=4096)(lambda text: date_in_words(text, spoken)),  # pages share them
        "picture": _picture,
        "counted": counted,
    }
    return templates


def render_report(report: Report) -> str:
    """Render the report as one HTML file without external resources."""
    ends = [end for row in report.rows for end in (row.ci_low, row.ci_high)]
    gallery = report.gallery
    gallery_axis = Axis.over(gallery.axis_values) if gallery else None
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            sums=report.value not in NOT_SUMMING,
            credit_axis=Axis.over([0.0, *ends]),
            utility_axis=Axis.over([report.null_utility, report.grand_utility, report.real_utility]),
            gallery_axis=gallery_axis,
            gallery_decimals=max(gallery_axis.decimals + 1, decimals_of(gallery.largest))
            if gallery_axis and gallery
            else 0,
            pair_axis=Axis.over(report.interactions.axis_values) if report.interactions else None,
            pair_decimals=decimals_of(report.interactions.largest) if report.interactions else 0,
            decimals=decimals_of(max(abs(row.credit) for row in report.rows)),
        )
    )


def decimals_of(largest: float) -> int:
    """Number of decimals that shows three significant digits of the largest number."""
    return min(6, max(0, 2 - floor(log10(largest)))) if largest else 2


def _number(value: float, decimals: int = 0, signed: bool = False) -> str:
    """A number with a typographic minus sign, and with a plus sign if `signed`; zero after rounding has no sign."""
    if round(value, decimals) == 0:
        return f"{0:.{decimals}f}"
    return format(value, f"{'+' if signed else ''},.{decimals}f").replace("-", "\N{MINUS SIGN}")


def _percent(share: float) -> str:
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def date_in_words(text: str, language: Language) -> str:
    """An ISO 8601 date and time in words; other text is returned unchanged."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if language.locale == SOURCE:
        return f"{moment.day} {moment:%B %Y, %H:%M %Z}".strip()
    return language.moment(text)


def _picture(png: bytes, width: int, height: int) -> Picture:
    """The image scaled by a whole factor, or by one over a whole number, so that it fits a box."""
    png_width, png_height = struct.unpack(">II", png[16:24])  # of the IHDR chunk, which is always first
    factor = min(width / png_width, height / png_height)
    factor = floor(factor) if factor >= 1 else 1 / ceil(1 / factor)
    return Picture(
        uri=do_mark_safe("data:image/png;base64," + b64encode(png).decode("ascii")),  # nothing in it is to be escaped
        width=max(1, round(png_width * factor)),
        height=max(1, round(png_height * factor)),
        enlarged=factor >= 1,
        own_width=png_width,
    )
