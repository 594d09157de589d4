"""Find the fonts of a source: in a folder, in files and in installed packages."""

from __future__ import annotations

from royalty.infra.stores.packages import package_files
from royalty.models.base.errors import InputError
from royalty.models.data.fonts import SUFFIXES, FontFile, font_files, font_images
from royalty.models.data.listing import Listing
from royalty.tasks.config.sources import FontsSource


def list_fonts(source: FontsSource) -> Listing:
    """List the characters of all fonts of a source.

    Raises:
        InputError, PackageError: a font is missing or cannot be used; the message has the file and the remedy.
    """
    fonts = font_files(source.path) if source.path else []
    for file in source.files:
        if not file.is_file():
            raise InputError(f"`files` names fonts, and there is no file {file}; correct or remove it")
        fonts.append(FontFile(file, file.name))
    for package in source.packages:
        installed, files = package_files(package, SUFFIXES)
        fonts += [FontFile(file, f"{installed}, {file.name}") for file in files]
    return font_images(
        fonts,
        characters=source.characters,
        size=source.size,
        designers=source.designers,
        exclude=source.exclude,
    )
