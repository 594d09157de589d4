"""Small fonts for tests, built in memory: a bar, a box and a step stand for the characters."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

EM = 1000


def outline(*corners: tuple[int, int]) -> Any:
    """A polygon, or nothing."""
    pen = TTGlyphPen(None)
    if corners:
        pen.moveTo(corners[0])
        for corner in corners[1:]:
            pen.lineTo(corner)
        pen.closePath()
    return pen.glyph()


def box(left: int, bottom: int, right: int, top: int) -> Any:
    return outline((left, bottom), (left, top), (right, top), (right, bottom))


def shape(index: int, weight: int) -> Any:
    """A shape of its own for each character, thicker with more weight."""
    return box(100, 0, 150 + weight + 40 * index, 700)


def save_font(
    file: Path,
    characters: str = "ABC",
    *,
    weight: int = 100,
    blank: str = "",
    names: dict[str, str] | None = None,
) -> Path:
    """Write a TrueType font of one face.

    Args:
        blank: characters that draw nothing.
        names: entries of the name table beside the family `Test` and the style `Regular`.
    """
    builder = FontBuilder(EM, isTTF=True)
    glyphs = {character: f"glyph{index}" for index, character in enumerate(characters)}
    builder.setupGlyphOrder([".notdef", *glyphs.values()])
    builder.setupCharacterMap({ord(character): name for character, name in glyphs.items()})
    shapes = {".notdef": outline()}
    for index, (character, name) in enumerate(glyphs.items()):
        shapes[name] = outline() if character in blank else shape(index, weight)
    builder.setupGlyf(shapes)
    builder.setupHorizontalMetrics({name: (EM, 0) for name in shapes})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test", "styleName": "Regular", **(names or {})})
    builder.setupOS2()
    builder.setupPost()
    file.parent.mkdir(parents=True, exist_ok=True)
    builder.save(file)
    return file


def save_variable(file: Path) -> Path:
    """A font with an axis of weight."""
    save_font(file, names={"designer": "Ann"})
    from fontTools.ttLib import TTFont

    font = TTFont(file)
    builder = FontBuilder(font=font)
    builder.setupFvar([("wght", 100, 400, 900, "Weight")], [])
    builder.save(file)
    return file


def save_symbols(file: Path) -> Path:
    """A font whose only map of characters is that of a symbol font."""
    from fontTools.ttLib import TTFont

    font = TTFont(save_font(file, names={"designer": "Ann"}))
    for table in font["cmap"].tables:
        table.platformID, table.platEncID = 3, 0
    font["cmap"].tables = font["cmap"].tables[:1]
    font.save(file)
    return file


def save_bitmaps(file: Path) -> Path:
    """A font without outlines."""
    from fontTools.ttLib import TTFont

    font = TTFont(save_font(file, names={"designer": "Ann"}))
    for table in ("glyf", "loca"):
        del font[table]
    font.save(file)
    return file


def save_endless(file: Path) -> Path:
    """A font of a kilobyte whose map of characters says to map 4 billion of them."""
    from fontTools.ttLib import TTFont
    from fontTools.ttLib.tables.DefaultTable import DefaultTable

    font = TTFont(save_font(file, names={"designer": "Ann"}))
    table = DefaultTable("cmap")
    one_group = struct.pack(">HHLLL3L", 12, 0, 28, 0, 1, 0, 2**32 - 1, 0)
    table.data = struct.pack(">HHHHL", 0, 1, 3, 10, 12) + one_group
    font["cmap"] = table
    font.save(file)
    return file


def save_overlapping(file: Path) -> Path:
    """A font each of whose 8,000 segments of characters maps all of them again, half a billion in all."""
    from fontTools.ttLib import TTFont
    from fontTools.ttLib.tables.DefaultTable import DefaultTable

    font, segments = TTFont(save_font(file, names={"designer": "Ann"})), 8_000
    table = DefaultTable("cmap")
    head = struct.pack(">HHHHHHH", 4, 16 + 8 * segments, 0, 2 * segments, 0, 0, 0)
    last, first, rest = b"\xff\xff" * segments, b"\0\0" * segments, b"\0\0" * 2 * segments
    table.data = struct.pack(">HHHHL", 0, 1, 3, 1, 12) + head + last + b"\0\0" + first + rest
    font["cmap"] = table
    font.save(file)
    return file


def save_compressed(file: Path) -> Path:
    """A font as it is sent to browsers, with the ending of another format."""
    from fontTools.ttLib import TTFont

    font = TTFont(save_font(file, names={"designer": "Ann"}))
    font.flavor = "woff"
    font.save(file)
    return file
