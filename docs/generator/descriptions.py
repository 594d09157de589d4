"""What settings mean and their units, in words: docs/settings.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

DESCRIPTIONS = Path(__file__).parents[1] / "settings.yaml"


class Described:
    """The descriptions of one section, by dotted path.

    A description is a text, or a mapping with `text`, and `default` where the code's own default says little.
    Where `kind` or `source` chooses among sections of one path, `PATH.VARIANT.KEY` comes before `PATH.KEY`.
    """

    def __init__(self, section: str) -> None:
        self._section = section
        self._entries: dict[str, Any] = yaml.safe_load(DESCRIPTIONS.read_text("utf-8"))[section]
        self._used: set[str] = set()

    def text(self, path: str, variant: str = "") -> str:
        entry = self._entry(path, variant)
        return str(entry["text"] if isinstance(entry, dict) else entry)

    def default(self, path: str, variant: str = "") -> str:
        entry = self._entry(path, variant)
        return str(entry.get("default", "")) if isinstance(entry, dict) else ""

    def check_complete(self) -> None:
        """Refuse descriptions of what is no setting.

        Raises:
            KeyError: with those.
        """
        if unused := sorted(self._entries.keys() - self._used):
            raise KeyError(f"docs/settings.yaml, `{self._section}`: no such settings: {', '.join(unused)}; remove them")

    def _entry(self, path: str, variant: str) -> Any:
        parent, _, name = path.rpartition(".")
        for written in (f"{parent}.{variant}.{name}", path):
            if written in self._entries:
                self._used.add(written)
                entry = self._entries[written]
                if isinstance(entry, dict) and entry.keys() != {"text", "default"}:
                    raise KeyError(
                        f"docs/settings.yaml, `{self._section}`: a description is a text, or has `text` and `default`; "
                        f"`{written}` has {', '.join(entry)}. Quote texts with a comma"
                    )
                return entry
        raise KeyError(f"docs/settings.yaml, `{self._section}`: every setting is described; add `{path}`")
