"""Characters drawn from font files; the contributor of an image is the designer whom the font names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import PIL
from PIL import features

from royalty.models.base.errors import InputError, Refusals, by_name
from royalty.models.data.listing import Cell, Entry, Listing, digest_of_files
from royalty.models.data.typefaces import Layout, draw, layout_of, read_typeface

SUFFIXES = (".ttf", ".otf")


@dataclass(frozen=True)
class FontFile:
    """A file, and how people find it: a package with its version, or a folder. The same on every machine."""

    path: Path
    origin: str


@dataclass(frozen=True)
class Glyphs:
    """A reader of characters, drawn as they are read.

    Attributes:
        files, layouts: of each face.
        characters: of every face; the images of a face follow one another.
        places: positions of the listed images among the characters of all faces.
    """

    files: tuple[Path, ...]
    layouts: tuple[Layout, ...]
    characters: tuple[str, ...]
    size: int
    places: np.ndarray

    def cells(self, start: int, stop: int) -> Iterator[Cell]:
        for place in self.places[start:stop].tolist():
            face, character = divmod(place, len(self.characters))
            yield draw(self.files[face], self.characters[character], self.layouts[face], self.size)

    def digest(self) -> str:
        """SHA-256 of the files, the drawn characters, and the versions of what draws them."""
        drawn = (*self.characters, str(self.size), PIL.__version__, str(features.version("freetype2")))
        digest = hashlib.sha256("\n".join((digest_of_files(self.files), *drawn)).encode())
        digest.update(self.places.tobytes())
        return digest.hexdigest()

    def take(self, places: np.ndarray) -> Glyphs:
        return replace(self, places=self.places[places])


def font_files(folder: Path) -> list[FontFile]:
    """The TTF and OTF files in a folder and its subfolders, sorted by path.

    Raises:
        InputError: there are none.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise InputError(f"{folder} has no font with the ending .ttf or .otf; name a folder with fonts")
    return [FontFile(file, file.relative_to(folder.parent).as_posix()) for file in files]


def font_images(
    files: Sequence[FontFile],
    *,
    characters: Sequence[str],
    size: int,
    designers: Mapping[str, str],
    exclude: Sequence[str] = (),
) -> Listing:
    """List the characters of every face, in white on black; the label is the character.

    All characters of a face have one baseline and one scale, at which they fill the square together. Neither depends on
    the other faces. The caption names character and face, such as `A in Roboto Black Italic`.

    Args:
        characters: distinct, each a single code point.
        size: side of the square images, in pixels.
        designers: names by family, in place of the designer that its fonts state; several separated by `;`.
        exclude: patterns of names of files that are not read, such as `*-Thin.ttf`.

    Raises:
        InputError: a font cannot be used (see `read_typeface`); or a pattern, or a family of `designers`, fits no font.
    """
    kept = _without(files, exclude)
    refused = Refusals()
    faces, layouts, entries = [], [], []
    families: dict[str, None] = {}
    for file in kept:
        with refused.collect():
            face = read_typeface(file.path, characters, designers)
            layouts.append(layout_of(file.path, characters))
            faces.append(face)
            families[face.family] = None
            entries += [
                Entry(
                    f"{file.origin}, {character!r}: {file.path.name!r}",
                    face.designers,
                    label=character,
                    text=f"{character} in {face.family} {face.style}",
                    license=face.license,
                    file_name=file.path.name,
                    style=face.style,
                )
                for character in characters
            ]
    refused.check("fonts cannot be used")
    for family in designers:
        by_name(family, families, "family of these fonts")
    reader = Glyphs(
        tuple(face.file for face in faces), tuple(layouts), tuple(characters), size, np.arange(len(entries))
    )
    return Listing(f"{len(faces)} fonts", tuple(entries), reader)


def _without(files: Sequence[FontFile], patterns: Sequence[str]) -> list[FontFile]:
    """The files whose name fits no pattern.

    Raises:
        InputError: a pattern fits no file, or nothing is left.
    """
    for pattern in patterns:
        if not any(fnmatchcase(file.path.name, pattern) for file in files):
            raise InputError(f"`exclude` names fonts, and {pattern!r} fits none of {len(files)}; correct or remove it")
    kept = [file for file in files if not any(fnmatchcase(file.path.name, pattern) for pattern in patterns)]
    if not kept:
        raise InputError(f"`exclude` leaves none of {len(files)} fonts; exclude fewer")
    return kept
