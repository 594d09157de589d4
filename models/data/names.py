"""Names of people: one spelling for each, no invisible characters, and which look alike."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

from royalty.models.base.errors import InputError

SPACES = re.compile(r"[ \t\r\n\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
INVISIBLE = {"Cc": "control", "Cf": "format", "Cs": "surrogate", "Co": "private", "Cn": "unassigned", "Zl": "line",
             "Zp": "paragraph"}  # fmt: skip
"""Categories of Unicode that no name has a character of, with their names."""
FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters of Hangul and a character of Braille that are blank, and that no name has."""
JOINERS = "\u200c\u200d"
"""Format characters that words of Persian and of languages of India need between two letters."""


NAMED = 10
"""Most names that a sentence of a report lists."""


def shortened(parts: Sequence[str], most: int = NAMED) -> str:
    """The first parts of a list, and the number of the others."""
    rest = len(parts) - most
    return ", ".join(parts[:most]) + (f" and {rest} more" if rest > 0 else "")


def person_name(where: str, written: str) -> str:
    """A name with composed characters (NFC), and one space between its words.

    Args:
        where: place of the name, for the error.

    Raises:
        InputError: a control or format character, such as one of no width or a change of direction, in which two names
            could differ without looking so.
    """
    name = SPACES.sub(" ", unicodedata.normalize("NFC", written)).strip(" ")
    for place, character in enumerate(name):
        kind = "blank" if character in FILLERS else INVISIBLE.get(unicodedata.category(character))
        if kind is not None and not _joins(name, place):
            raise InputError(
                f"{where}: a name has no {kind} characters, and {name!a} has {_title(character)} as its character "
                f"{place + 1}; remove it"
            )
    return name


def lookalikes(names: Iterable[str]) -> list[list[str]]:
    """Groups of different names that cannot be told apart by eye, by the table of Unicode's technical standard 39.

    Returns:
        Groups of two and more names, each sorted, in the order of their first names.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[_skeleton(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def look_the_same(one: str, other: str) -> bool:
    """Whether two names cannot be told apart by eye; see `lookalikes`."""
    return _skeleton(one) == _skeleton(other)


def _joins(name: str, place: int) -> bool:
    """Whether the character is a joiner that changes how the letters around it are written."""
    around = name[place - 1 : place] + name[place + 1 : place + 2]
    return name[place] in JOINERS and len(around) == 2 and all(map(_has_joined_letters, around))


def _has_joined_letters(character: str) -> bool:
    return unicodedata.category(character) in ("Lo", "Mn", "Mc") and unicodedata.east_asian_width(character) != "W"


def _title(character: str) -> str:
    return f"U+{ord(character):04X} ({unicodedata.name(character, 'without a name')})"


def _skeleton(name: str) -> str:
    prototypes = _prototypes()
    decomposed = "".join(filter(_seen, unicodedata.normalize("NFKD", name)))
    shown = "".join(prototypes.get(character, character) for character in decomposed)
    return unicodedata.normalize("NFKD", shown)


def _seen(character: str) -> bool:
    """Whether a character is drawn: combining grapheme joiners and variation selectors are not, nor are joiners."""
    return not (
        character in "\u034f\u17b4\u17b5" or character in JOINERS
        or "\u180b" <= character <= "\u180f" or "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
    )  # fmt: skip


@lru_cache(maxsize=1)
def _prototypes() -> dict[str, str]:
    """For each character that another one looks like, the one that stands for all that look so."""
    from confusable_homoglyphs.confusables import confusables_data  # takes a moment to read

    stands_for: dict[str, str] = {}

    def first(character: str) -> str:
        while (other := stands_for.get(character, character)) != character:
            character = other
        return character

    for character, others in confusables_data.items():
        for other in (entry["c"] for entry in others):
            if len(character) == 1 and len(other) == 1:
                low, high = sorted((first(character), first(other)))
                stands_for[high] = low
    return {character: first(character) for character in stands_for}
