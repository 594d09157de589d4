"""User input inside Markdown."""

from __future__ import annotations

import re


def escaped(text: str) -> str:
    """Escape text for Markdown. Names of contributors are user input."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~&])", r"\\\1", text).replace("\n", " ")
