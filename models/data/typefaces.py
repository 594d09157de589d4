"""Read a font file: the names that it states, and the outlines of its characters at one scale."""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from royalty.models.base.errors import InputError
from royalty.models.data.listing import SEPARATOR, contributors_of
from royalty.models.data.names import FILLERS

FAMILY, STYLE, DESIGNER, LICENSE, LICENSE_URL, TYPOGRAPHIC_FAMILY, TYPOGRAPHIC_STYLE = 1, 2, 9, 13, 14, 16, 17
"""Entries of the name table (OpenType specification, `name`)."""

NOBODY = ("", "n a", "na", "nil", "no designer", "none", "not applicable", "not available", "null", "tbd", "todo")
"""What fonts state as their designer when they name nobody, in lower case and without punctuation."""
NOBODY_FIRST = ("anonymous", "multiple", "see", "several", "undefined", "unknown", "unspecified", "various")
"""Words that no name begins with, as in "Various Artists" or "Multiple designers; see FONTLOG"."""

LICENSES = (
    ("SIL Open Font License", "OFL-1.1"),
    ("scripts.sil.org/OFL", "OFL-1.1"),
    ("openfontlicense.org", "OFL-1.1"),
    ("Apache License, Version 2.0", "Apache-2.0"),
    ("apache.org/licenses/LICENSE-2.0", "Apache-2.0"),
    ("Ubuntu Font Licence", "Ubuntu-font-1.0"),
    ("creativecommons.org/publicdomain/zero/1.0", "CC0-1.0"),
)
"""Parts of the statements in fonts, and the SPDX identifiers of the licenses that they state."""

CODES = 0x110000
"""Code points of Unicode."""
STATED = 80
"""Most characters of the statement of an unknown license that are kept."""
OUTLINES = ("glyf", "CFF ", "CFF2")
REFERENCE = 128
"""Pixels of the em at which a face is measured."""
FINE = 256
"""Smallest side at which a character is drawn before it is reduced; hinting then has no effect on its shape."""
HEIGHT, WIDTH = 3 / 4, 15 / 16
"""Fractions of the square that the characters of a face fill: their common height, or else the widest of them."""


@dataclass(frozen=True)
class Typeface:
    """The names of a face.

    Attributes:
        designers: as the font names them, or as they are given for its family.
        license: SPDX identifier of a known license; otherwise the beginning of the statement; empty without one.
    """

    file: Path
    family: str
    style: str
    designers: tuple[str, ...]
    license: str


@dataclass(frozen=True)
class Layout:
    """The scale and the baseline of a face, common to all its characters.

    Attributes:
        em: pixels of the em in a square with sides of one pixel.
        baseline: its distance from the upper side of that square.
    """

    em: float
    baseline: float


def read_typeface(file: Path, characters: Sequence[str], designers: Mapping[str, str]) -> Typeface:
    """Read the names of a face that can draw the characters.

    Args:
        designers: names by family, several separated by `;`; they replace the designer that the font states.

    Raises:
        InputError: the file is damaged or variable, has bitmaps or symbols instead of outlines of Unicode characters,
            lacks some of the characters, or names no designer.
    """
    try:
        with TTFont(file, lazy=True) as font:
            _check_size(font)
            tables, mapped = set(font.keys()), font.getBestCmap()
            names = {number: font["name"].getDebugName(number) or "" for number in NAMES} if "name" in font else {}
    except Exception as error:  # noqa: BLE001  a damaged font may raise any exception
        raise InputError(
            f"{file} cannot be read as a font ({type(error).__name__}: {error}); replace it, or add it to `exclude`"
        ) from None
    _check_kind(file, tables, mapped)
    missing = [character for character in characters if ord(character) not in (mapped or {})]
    if missing:
        raise InputError(
            f"{file}: a font has all `characters`, and this one lacks {_some(missing)}; ask for fewer characters, or "
            "add it to `exclude`"
        )
    names = {number: " ".join(name.split()) for number, name in names.items()}
    family = names.get(TYPOGRAPHIC_FAMILY) or names.get(FAMILY) or file.stem
    style = names.get(TYPOGRAPHIC_STYLE) or names.get(STYLE) or "Regular"
    credited = _designers(file, family, designers.get(family), names.get(DESIGNER, ""))
    return Typeface(file, family, style, credited, license_of(names.get(LICENSE, ""), names.get(LICENSE_URL, "")))


NAMES = (FAMILY, STYLE, DESIGNER, LICENSE, LICENSE_URL, TYPOGRAPHIC_FAMILY, TYPOGRAPHIC_STYLE)


def license_of(statement: str, url: str) -> str:
    """The SPDX identifier of a stated license; of an unknown one the beginning of the statement, or its address."""
    for part, identifier in LICENSES:
        if part.lower() in f"{statement}\n{url}".lower():
            return identifier
    return (statement or url)[:STATED].strip()


def layout_of(file: Path, characters: Collection[str]) -> Layout:
    """The scale and baseline at which the characters of a face fill the square; other faces do not change them.

    Raises:
        InputError: a character draws nothing, or cannot be drawn.
    """
    boxes = np.array([_ink(file, character, REFERENCE) for character in characters])  # (characters, 4)
    above, below = -boxes[:, 1].min() / REFERENCE, boxes[:, 3].max() / REFERENCE  # in ems, from the baseline
    widest = (boxes[:, 2] - boxes[:, 0]).max() / REFERENCE
    em = min(HEIGHT / (above + below), WIDTH / widest)
    return Layout(em, (1 - em * (above + below)) / 2 + em * above)


def draw(file: Path, character: str, layout: Layout, size: int) -> np.ndarray:
    """A character in white on black, on the baseline and centred by its width: uint8, `(size, size)`."""
    fine = -(-FINE // size)
    side = fine * size
    left, _, right, _ = _ink(file, character, REFERENCE)
    canvas = Image.new("L", (side, side), "black")
    start = side / 2 - (left + right) / 2 * layout.em * side / REFERENCE
    font = _font(file, layout.em * side)
    ImageDraw.Draw(canvas).text((start, layout.baseline * side), character, fill="white", font=font, anchor="ls")
    return np.asarray(canvas.reduce(fine))


def _check_size(font: TTFont) -> None:
    """Check, before tables are unpacked, that a file of kilobytes does not become gigabytes.

    Raises:
        ValueError: it would, or its map of characters is damaged.
    """
    if font.flavor:
        raise ValueError(f"it is a compressed font of the format {font.flavor}")
    if "cmap" not in font:
        return
    table = font.reader["cmap"]
    for (start,) in struct.iter_unpack(">4xL", table[4 : 4 + 8 * struct.unpack_from(">H", table, 2)[0]]):
        codes = _mapped_codes(table, start)
        if codes > CODES:
            raise ValueError(f"it maps {codes:,} characters, of which Unicode has {CODES:,}")


def _mapped_codes(table: bytes, start: int) -> int:
    """How many codes a map of characters says to map, by its segments (OpenType specification, `cmap`)."""
    kind, segments = struct.unpack_from(">H4xH", table, start)
    if kind == 4:
        count = segments // 2
        last = np.frombuffer(table, ">u2", count, start + 14)
        first = np.frombuffer(table, ">u2", count, start + 16 + 2 * count)
    elif kind in (12, 13):
        (count,) = struct.unpack_from(">L", table, start + 12)
        first, last, _ = np.frombuffer(table, ">u4", 3 * count, start + 16).reshape(-1, 3).T
    else:
        return 0  # of a fixed, small size, or not read
    return int((last.astype(np.int64) - first + 1).clip(0).sum())


def _check_kind(file: Path, tables: Collection[str], mapped: Mapping[int, str] | None) -> None:
    if not set(OUTLINES) & set(tables):
        problem = "holds bitmaps instead of outlines"
    elif "fvar" in tables:
        problem = "is variable: it holds a range of faces"
    elif not mapped:
        problem = "holds symbols, which stand for no Unicode characters"
    else:
        return
    raise InputError(
        f"{file}: a font has the outlines of one face, and this one {problem}; name a static font of the face, or add "
        "it to `exclude`"
    )


def _designers(file: Path, family: str, given: str | None, stated: str) -> tuple[str, ...]:
    """The contributors of a face.

    Raises:
        InputError: there are none, or a name cannot be shown.
    """
    remedy = f"set `designers: {{{family}: NAME}}` (several separated by {SEPARATOR!r}), or add it to `exclude`"
    name = stated if given is None else given
    if given is None and any(map(_is_nobody, _parts(stated))):
        raise InputError(
            f"{file}: the designer in the font's name table is the contributor, and it states {stated!r}; {remedy}"
        )
    hidden = sorted({character for character in name if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co")})
    if hidden:
        raise InputError(
            f"{file}: the name of a designer has no control characters, and {name!r} has {_some(hidden)}; {remedy}"
        )
    credited = contributors_of(str(file), name)
    if not credited:
        raise InputError(f"{file}: the name of a designer is not empty, got {name!r}; {remedy}")
    return credited


def _parts(stated: str) -> list[str]:
    """The names of a statement; the empty statement if it is empty."""
    return [part for part in stated.split(SEPARATOR) if part.strip()] if stated.strip() else [""]


def _is_nobody(stated: str) -> bool:
    """Whether a statement names nobody: punctuation, case and characters that are not seen do not matter."""
    words = re.findall(r"[^\W_]+", re.sub(f"[{FILLERS}]", "", stated).casefold())
    return " ".join(words) in NOBODY or words[0] in NOBODY_FIRST


def _ink(file: Path, character: str, em: int) -> tuple[int, int, int, int]:
    """The box of the ink of a character, in pixels from the start of its baseline: left, top, right, bottom.

    Raises:
        InputError: it draws nothing, or cannot be drawn.
    """
    try:
        mask, (across, down) = _font(file, em).getmask2(character, mode="L", anchor="ls")
        box = Image.Image()._new(mask).getbbox()
    except (OSError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        raise InputError(
            f"{file}: {character!r} cannot be drawn ({error}); replace the font, or add it to `exclude`"
        ) from None
    if box is None:
        raise InputError(
            f"{file}: each of `characters` shows something, and {character!r} is blank in this font; leave the "
            "character out, or add the font to `exclude`"
        )
    return box[0] + across, box[1] + down, box[2] + across, box[3] + down


@lru_cache(maxsize=16)
def _font(file: Path, em: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(file), em, layout_engine=ImageFont.Layout.BASIC)


def _some(characters: Sequence[str]) -> str:
    """The first characters, as they are written in Python."""
    rest = len(characters) - 8
    return " ".join(map(repr, characters[:8])) + (f" and {rest} more" if rest > 0 else "")
