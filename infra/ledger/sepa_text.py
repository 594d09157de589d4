"""Text in the characters that every SEPA bank accepts, and identifications by its rules.

The implementation guidelines of the European Payments Council guarantee the letters a to z and A to Z, digits, the
space and `/ - ? : ( ) . , ' +`. Other characters are transliterated:

- Letters lose their diacritics: `é` becomes `e` and `ü` becomes `u`.
- Other letters of Latin alphabets become one or two letters: `ß` becomes `ss`, `æ` `ae` and `ø` `o`.
- Greek letters follow ELOT 743, Cyrillic letters the Bulgarian standard, each on its own.
- `&` becomes `+`, `_` and dashes `-`, brackets parentheses, a semicolon a comma, and quotes an apostrophe.
- Control characters are removed, runs of white space become one space, and anything else becomes a full stop.
"""

from __future__ import annotations

import re
import unicodedata

ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-?:().,'+ ")
IDENTITY = re.compile(r"(?!/)(?!.*//)[A-Za-z0-9/\-?:().,'+ ]{1,35}(?<!/)")

LETTERS = {
    **{"ß": "ss", "æ": "ae", "œ": "oe", "þ": "th"},
    **dict(zip("øłđðħŋŧĸ\N{LATIN SMALL LETTER DOTLESS I}", "olddhntki", strict=True)),
    **dict(zip("αβγδεζηικλμνξοπρσςτυφω", "avgdeziiklmnxoprsstyfo", strict=True)),
    **{"θ": "th", "χ": "ch", "ψ": "ps"},
    **dict(zip("абвгдезийклмнопрстуфхъьыэіґј", "abvgdeziyklmnoprstufhayyeigj", strict=True)),
    **{"ж": "zh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "sht", "ю": "yu", "я": "ya", "є": "ye"},
    **{"ђ": "dj", "љ": "lj", "њ": "nj", "ћ": "c", "џ": "dz", "\N{CYRILLIC SMALL LETTER DZE}": "dz"},
}
SIGNS = {
    **{"&": "+", "_": "-", "~": "-", ";": ",", "\\": "/", "|": "/", "\N{FRACTION SLASH}": "/", "·": ".", "€": "EUR"},
    **dict.fromkeys("[{", "("),
    **dict.fromkeys("]}", ")"),
    **dict.fromkeys(('"', "`", "\N{ACUTE ACCENT}"), "'"),
    **dict.fromkeys(("\N{SINGLE LOW-9 QUOTATION MARK}", "\N{DOUBLE LOW-9 QUOTATION MARK}"), "'"),
    "\N{MINUS SIGN}": "-",
}
CATEGORIES = {"Pd": "-", "Pi": "'", "Pf": "'"}
"""Dashes, and the two kinds of quotation marks, by their category in Unicode."""
CAPITALS = {letter.upper(): latin.capitalize() for letter, latin in LETTERS.items() if len(letter.upper()) == 1}
TABLE = {**CAPITALS, **LETTERS, **SIGNS, "ẞ": "SS"}


def sepa_text(text: str, length: int) -> str:
    """Transliterate a text, and cut it after `length` characters. Empty if nothing but removed characters is left."""
    latin = "".join(map(_transliterated, unicodedata.normalize("NFC", text)))
    return " ".join(latin.split())[:length].rstrip()


def is_legible(text: str) -> bool:
    """Whether a transliterated text has a letter or a digit, so that it can be a name."""
    return any(character.isalnum() for character in text)


def checked_identity(identity: str) -> str:
    """An identification as it was given.

    Raises:
        ValueError: it is not one by the rules of SEPA.
    """
    if not IDENTITY.fullmatch(identity):
        raise ValueError(
            "an identification has 1 to 35 characters of the SEPA character set, no slash at either end and no two in "
            f"a row, got {identity!r}"
        )
    return identity


def _transliterated(character: str) -> str:
    if character in ALLOWED:
        return character
    if character in TABLE:
        return TABLE[character]
    if character.isspace():
        return " "
    if sign := CATEGORIES.get(unicodedata.category(character)):
        return sign
    parts = [part for part in unicodedata.normalize("NFKD", character) if not _is_silent(part)]
    latin = "".join(part if part in ALLOWED else TABLE.get(part, "") for part in parts)
    return latin or ("." if parts else "")


def _is_silent(character: str) -> bool:
    """Whether a character is a combining mark, or a control or format character."""
    return unicodedata.category(character) in ("Mn", "Mc", "Me", "Cc", "Cf")
