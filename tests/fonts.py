"""Small fonts for tests, built in memory: a bar, a box and a step stand for the characters."""

from __future__ import annotations

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
