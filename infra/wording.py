"""Words of sentences: those that depend on a number, and characters that a terminal would obey instead of show."""

from __future__ import annotations

import unicodedata

OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode with the characters that colour, move or turn text instead of being seen."""
HARMLESS = "\n\t\u200c\u200d"
"""Characters of these categories that text needs: ends of lines, tabs, and joiners of letters and emoji."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and what it counts: `1 image`, `0 images`, `1,200 images`.

    Args:
        plural: of the noun; with an `s` at its end if empty.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def visible(text: str) -> str:
    """A text with control and format characters as escapes, such as `\\x1b`, for a terminal."""
    return "".join(
        ascii(character)[1:-1] if unicodedata.category(character) in OBEYED and character not in HARMLESS else character
        for character in text
    )
