"""Keys of computations: canonical JSON, and the version of the code that runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from royalty.infra.stores.sources import PACKAGE, SourceCache, in_package

SOURCES = SourceCache()
"""Source files that this process or an earlier one has read."""


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal for equal values in every process."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


@cache
def code_version(*modules: str) -> str:
    """Digest of all code that these modules can run (see `modules_run_by`), and of the versions of its libraries.

    Comments, docstrings, layout, and the names and paths of modules are ignored, so that reformatting or moving a file
    repeats no training.
    """
    sources = sorted(_module(name).digest for name in modules_run_by(*modules))
    SOURCES.save()
    return digest_of({"sources": sources, "libraries": _versions(libraries_run_by(*modules))})


@cache
def modules_run_by(*modules: str) -> frozenset[str]:
    """These modules and all modules that they import, directly or not and anywhere in the file, except libraries.

    Modules that are only named in strings, as in a registry, are not followed; the caller passes the one that runs.

    Raises:
        ValueError: there is no such module.
    """
    reached: set[str] = set()
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending += _module(name).imports
    return frozenset(reached)


def libraries_run_by(*modules: str) -> frozenset[str]:
    """Import names of the libraries whose versions are part of the code version of these modules.

    They are the imported ones, and those behind them (see `BEHIND`).
    """
    imported = {library for name in modules_run_by(*modules) for library in _module(name).libraries}
    return frozenset(imported).union(*(BEHIND.get(library, ()) for library in imported))


@cache
def code_commit() -> str:
    """The git commit of this package, marked if files differ from it; without git, the package's version."""
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
    )
    return described.stdout.strip() if described.returncode == 0 else f"{PACKAGE} {version(PACKAGE)}"


@dataclass(frozen=True)
class _Module:
    """A module's file: digest of its code, the modules of its own project that it imports, and the libraries."""

    digest: str
    imports: tuple[str, ...]
    libraries: tuple[str, ...]


@cache
def _module(name: str) -> _Module:
    origin = _origin(name)
    if origin is None:
        raise ValueError(f"a code version covers modules with source files, got {name!r}, which has none")
    source = SOURCES.read(Path(origin))
    parent = name.rpartition(".")[0]
    package = name if Path(origin).name == "__init__.py" else parent
    names = {_absolute(imported, package) for imported in source.imported} - {""}
    parents = () if in_package(name) else (parent,)  # a package runs before what it contains
    modules = sorted({module for imported in (*names, *parents) for module in _project_modules(imported)})
    libraries = {imported.partition(".")[0] for imported in names} - {module.partition(".")[0] for module in modules}
    return _Module(source.digest, tuple(modules), tuple(sorted(libraries - sys.stdlib_module_names)))


def _absolute(imported: str, package: str) -> str:
    """The dotted name of an import in a package; empty if it is relative to something outside, and so fails."""
    try:
        return resolve_name(imported, package) if imported.startswith(".") else imported
    except ImportError:
        return ""


def _project_modules(imported: str) -> Iterator[str]:
    """The module of a dotted name, if it is a file of this package or of the user, such as a property, but no library.

    The package's own `__init__` is left out: it only provides names to users.
    """
    top = imported.partition(".")[0]
    if imported in ("", PACKAGE) or top in sys.stdlib_module_names:
        return
    if in_package(imported) or not _is_library(top):
        origin = _origin(imported)
        if origin is not None:
            yield imported


@cache
def _is_library(top: str) -> bool:
    spec = find_spec(top)
    return spec is None or spec.origin is None or _installed(spec.origin)


@cache
def _origin(name: str) -> str | None:
    """The source file of a module, or None, found without importing the packages that contain it.

    The rooms of this package may be outside its folder, so each is looked up by its name.
    """
    parts = name.split(".")
    top_level = 2 if parts[0] == PACKAGE else 1  # parts of the name that `find_spec` may import
    try:
        spec = find_spec(".".join(parts[:top_level]))
    except (ImportError, ValueError):
        return None
    for end in range(top_level + 1, len(parts) + 1):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join(parts[:end]), list(spec.submodule_search_locations))
    return spec.origin if spec is not None and spec.origin is not None and spec.origin.endswith(".py") else None


def _installed(origin: str) -> bool:
    """Whether a file belongs to a library: it is in a folder of installed packages, or part of Python."""
    path = Path(origin)
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or path.is_relative_to(
        sysconfig.get_paths()["stdlib"]
    )


BEHIND = {"matplotlib": ("PIL",), "pandas": ("pyarrow",), "sklearn": ("scipy",), "transformers": ("accelerate",)}
"""Libraries that another one calls to write pictures, to hold and write tables, to cluster and to save models: their
versions count wherever that one is imported."""

OTHER_NAMES = {
    "c2pa": ("c2pa-python",),
    "PIL": ("pillow",),
    "dateutil": ("python-dateutil",),
    "faiss": ("faiss-cpu", "faiss-gpu-cu12"),
    "openlineage": ("openlineage-python",),
    "sklearn": ("scikit-learn",),
    "yaml": ("pyyaml",),
}
"""Packages whose import name differs from their names in the registry; one of several is installed."""


def _versions(libraries: Iterable[str]) -> dict[str, list[str]]:
    """Versions of the installed packages by import name; an empty list if none is installed."""
    return {library: _version(library) for library in libraries}


@cache
def _version(library: str) -> list[str]:
    names = OTHER_NAMES.get(library, (library,))
    versions = [installed for name in names if (installed := _installed_version(name))]
    if not versions and find_spec(library) is not None:  # reads the files of every package, which takes a second
        packages = _distributions().get(library, ())
        versions = [installed for name in packages if (installed := _installed_version(name))]
    return sorted(set(versions))


def _installed_version(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())
