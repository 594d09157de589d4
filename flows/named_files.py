"""The files and folders that a configuration names: one that is not there is told before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from royalty.flows.configuration import ConfigError
from royalty.tasks.config.base import StageConfig


def check_files(config: StageConfig) -> None:
    """Check that every file and folder is there that a configuration names.

    Raises:
        ConfigError: one cannot be reached.
    """
    if missing := [why for where, path in _named(config) if (why := _missing(where, path))]:
        raise ConfigError("; ".join(missing) + ". Name a file or folder that is there")


def _missing(where: str, path: Path) -> str | None:
    try:
        return None if path.exists() else f"`{where}` is {path}, which does not exist"
    except OSError as error:  # for example, a name that is too long
        return f"`{where}` is {path}, which cannot be read: {error.strerror}"


def _named(config: StageConfig, parent: str = "") -> Iterator[tuple[str, Path]]:
    """Every file and folder, and the key that names it."""
    for key in type(config).model_fields:
        value = getattr(config, key)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Path):
                yield parent + key, part
            elif isinstance(part, StageConfig):
                yield from _named(part, f"{parent}{key}.")
