"""The little Markdown that generated pages are made of."""

from __future__ import annotations

from collections.abc import Sequence

HEAD = "<!-- Written by `python docs/generator` from the code. Change the code, or docs/settings.yaml. -->\n\n"


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines) + "\n"


def settings_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of names and meanings, which the site's stylesheet gives room."""
    return f'<div class="settings" markdown="1">\n\n{table(columns, rows)}\n</div>\n'


def anchor(heading: str) -> str:
    """The anchor that both the site and a forge give a heading of words, dots and dashes."""
    return "".join(letter for letter in heading.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")
