"""Files of installed packages, found without importing the packages."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from royalty.infra.stores.artifacts import StoreError


class PackageError(StoreError):
    """A package is not installed, or lacks the files that it is named for; the message gives the remedy."""


def package_files(package: str, suffixes: Collection[str]) -> tuple[str, list[Path]]:
    """Name and version of an installed package, and its files with one of the endings, sorted.

    Raises:
        PackageError: it is not installed, or has no such file.
    """
    try:
        installed = distribution(package)
    except (PackageNotFoundError, ValueError):
        raise PackageError(f"the package {package!r} is not installed; run `pip install {package}`") from None
    files = [Path(str(installed.locate_file(file))) for file in installed.files or ()]
    wanted = sorted(file for file in files if file.suffix.lower() in suffixes and file.is_file())
    if not wanted:
        raise PackageError(
            f"the package {package!r} has no file with the ending {' or '.join(suffixes)}; name another package"
        )
    return f"{installed.name} {installed.version}", wanted
