"""The language of contributors' pages and statements."""

from __future__ import annotations

from pathlib import Path

from royalty.flows.configuration import ConfigError, read_mapping
from royalty.infra.pages.language import Language, language_of, shipped, shipped_language
from royalty.infra.settings import settings


def chosen_language(chosen: str | None = None) -> Language:
    """A language that is shipped, or that of a YAML file; None: that of `ROYALTY_LANGUAGE`.

    Raises:
        ConfigError: there is no such language, or the file cannot be read.
        LanguageError: it lacks texts, or has others; the message names them all.
    """
    name = chosen or settings().language
    if name in shipped():
        return shipped_language(name)
    if not Path(name).is_file():
        raise ConfigError(
            f"there is no language {name!r}; `--language` and ROYALTY_LANGUAGE take {', '.join(shipped())} or the path "
            "of a YAML file"
        )
    return language_of(read_mapping(Path(name)), name)
