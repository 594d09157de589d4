"""Small sets of drawings, packed as npm packs OpenMoji."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

HEADER = "emoji,hexcode,group,subgroups,annotation,openmoji_author,openmoji_date,skintone\n"

Row = tuple[str, str, str, str, str, str]
"""Code, group, annotation, author, date and skin tone of an emoji."""


def svg(body: str, attributes: str = "") -> bytes:
    """A drawing on OpenMoji's grid."""
    return f'<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg"{attributes}>{body}</svg>'.encode()


def disc(number: int) -> bytes:
    """A disc or a square, whose place, size and colour tell it from those of other numbers."""
    x, y, size = 20 + number * 7 % 32, 20 + number * 11 % 32, 6 + number % 13
    colour = f"#{number * 37 % 256:02x}{number * 91 % 256:02x}{number * 53 % 256:02x}"
    if number % 2:
        return svg(f'<circle cx="{x}" cy="{y}" r="{size}" fill="{colour}"/>')
    return svg(f'<rect x="{x - size}" y="{y - size}" width="{2 * size}" height="{2 * size}" fill="{colour}"/>')


def table_of(rows: Sequence[Row]) -> bytes:
    lines = [
        f'x,{code},{group},of {group},"{text}",{author},{day},"{skin}"' for code, group, text, author, day, skin in rows
    ]
    return (HEADER + "\n".join(lines) + "\n").encode()


def packed(archive: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    """A .tgz archive; a member that is a `TarInfo` has no content."""
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            described = tarfile.TarInfo(name)
            described.size = len(content)
            tar.addfile(described, io.BytesIO(content))
    return archive


def openmoji_archive(archive: Path, rows: Sequence[Row], drawings: Mapping[str, bytes] | None = None) -> Path:
    """An archive with a table and a drawing for each row, or with other drawings by code."""
    drawn = {row[0]: disc(number) for number, row in enumerate(rows)} if drawings is None else drawings
    members = {f"package/color/svg/{code}.svg": content for code, content in drawn.items()}
    return packed(archive, {"package/data/openmoji.csv": table_of(rows), "package/README.md": b"", **members})
