"""Writes the reference pages that follow from the code.

python docs/generator            # write them
python docs/generator --check    # exit 1 if one is not what the code says
"""

from __future__ import annotations

import sys
from pathlib import Path

from api import api_page
from commands import commands_page
from environment import environment_page
from settings import settings_pages

REFERENCE = Path(__file__).parents[1] / "pages" / "reference"


def pages() -> dict[str, str]:
    """Page by file name."""
    return {
        "cli.md": commands_page(),
        "environment.md": environment_page(),
        "python.md": api_page(),
        **settings_pages(),
    }


def main() -> None:
    written = {REFERENCE / name: text for name, text in pages().items()}
    if "--check" in sys.argv[1:]:
        stale = [page.name for page, text in written.items() if not page.exists() or page.read_text("utf-8") != text]
        if stale:
            sys.exit(f"not what the code says: {', '.join(stale)}; run `make docs` and commit the pages")
        return
    for page, text in written.items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
