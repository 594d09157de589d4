"""The code blocks of the documentation, and what is said about them in a comment above."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "ARCHITECTURE.md",
    *sorted((ROOT / "docs" / "pages").rglob("*.md")),
]

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
ABOVE = re.compile(r"<!-- (?P<key>not run|config): (?P<value>.+?) -->\n *\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        line: number of its first line in the page.
        not_run: why a Python block does not run in the tests; empty: it runs.
        config: of a YAML block, which file it is: `run` unless said otherwise, `none` for no configuration.
    """

    page: Path
    line: int
    language: str
    text: str
    not_run: str
    config: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """Every fenced block of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        above = ABOVE.search(text[: found.start()])
        said = {above["key"]: above["value"]} if above else {}
        body = re.sub(rf"^{found['indent']}", "", found["body"], flags=re.MULTILINE)
        yield Block(
            page,
            text.count("\n", 0, found.start("body")) + 1,
            found["language"],
            body,
            said.get("not run", ""),
            said.get("config", "run"),
        )


def blocks(language: str) -> list[Block]:
    """The blocks of all pages in a language."""
    return [block for page in PAGES for block in blocks_of(page) if block.language == language]


def commands() -> list[tuple[str, str]]:
    """Place and command of every line of a console block that a reader would type."""
    return [
        (block.place, line.removeprefix("$ "))
        for block in blocks("console")
        for line in block.text.splitlines()
        if line.startswith("$ ")
    ]
