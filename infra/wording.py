"""Words of sentences that depend on a number."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number and what it counts: `1 image`, `0 images`, `1,200 images`.

    Args:
        plural: of the noun; with an `s` at its end if empty.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
