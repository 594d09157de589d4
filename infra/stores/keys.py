"""What makes two computations the same: canonical JSON, and the version of the code that runs them."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal for equal values in every process."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


@lru_cache
def code_version(*modules: str) -> str:
    """Digest of all code that these modules can run (see `modules_run_by`), and of the versions of its libraries.

    Comments, docstrings, layout and the names and places of modules do not count, so that tidying or moving a file
    repeats no training.
    """
    covered = [_module(name) for name in modules_run_by(*modules)]
    libraries = {library for module in covered for library in module.libraries}
    return digest_of({"sources": sorted(module.digest for module in covered), "libraries": _versions(libraries)})


@lru_cache
def modules_run_by(*modules: str) -> frozenset[str]:
    """These modules and all that they import, however deep and wherever in the file, libraries aside.

    A module that is named in a string only, as in a registry, is not followed: whoever knows which of them runs, names
    it beside the others.

    Raises:
        ValueError: there is no such module.
    """
    found: set[str] = set()
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += _module(name).imports
    return frozenset(found)


@lru_cache
def code_commit() -> str:
    """The git commit that this package runs from, marked where files differ from it, or its version."""
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
    )
    return described.stdout.strip() if described.returncode == 0 else f"{PACKAGE} {version(PACKAGE)}"


@dataclass(frozen=True)
class _Module:
    """What a file holds: the digest of its code, the modules of its own project that it imports, and the libraries."""

    digest: str
    imports: tuple[str, ...]
    libraries: tuple[str, ...]


@lru_cache
def _module(name: str) -> _Module:
    origin = _origin(name)
    if origin is None:
        raise ValueError(f"a code version covers modules that are files; there is no module {name!r}")
    tree = ast.parse(Path(origin).read_text(encoding="utf-8"))
    reduced = _Reduced()
    reduced.visit(tree)
    own = sorted({found for imported in reduced.imported for found in _own_modules(imported)})
    libraries = {imported.partition(".")[0] for imported in reduced.imported} - {
        found.partition(".")[0] for found in own
    }
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _Module(digest, tuple(own), tuple(sorted(libraries - sys.stdlib_module_names)))


class _Reduced(ast.NodeTransformer):
    """Takes out of a tree what decides nothing, and collects the dotted names that it imports.

    Docstrings go, and the names of modules of this package: of an import the imported names stay, of a name in a string
    what follows the colon.
    """

    def __init__(self) -> None:
        self.imported: list[str] = []

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        module = node.module or ""
        self.imported += [module, *(f"{module}.{alias.name}" for alias in node.names)]
        return ast.ImportFrom("", node.names, 0) if _in_package(module) else node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        self.imported += [alias.name for alias in node.names]
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":  # is false when code runs
            node.body = [ast.Pass()]
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str) and _in_package(node.value):
            return ast.Constant(node.value.partition(":")[2])
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
        return super().generic_visit(node)


def _in_package(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def _own_modules(imported: str) -> Iterator[str]:
    """The module of a dotted name, if it is a file of this package, or of the user's, such as a property; no library.

    The package's own `__init__` is left out: it gives names to users, and runs nothing.
    """
    top = imported.partition(".")[0]
    if imported in ("", PACKAGE) or top in sys.stdlib_module_names:
        return
    if _in_package(imported) or not _is_library(top):
        origin = _origin(imported)
        if origin is not None:
            yield imported


@lru_cache
def _is_library(top: str) -> bool:
    spec = find_spec(top)
    return spec is None or spec.origin is None or _installed(spec.origin)


@lru_cache
def _origin(name: str) -> str | None:
    """The file of a module, if the name is one's and it has a file; found without importing what it is in.

    The rooms of this package need not lie in its folder, so that each is asked for by name.
    """
    parts = name.split(".")
    known = 2 if parts[0] == PACKAGE else 1
    try:
        spec = find_spec(".".join(parts[:known]))
    except (ImportError, ValueError):
        return None
    for end in range(known + 1, len(parts) + 1):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join(parts[:end]), list(spec.submodule_search_locations))
    return spec.origin if spec is not None and spec.origin is not None and spec.origin.endswith(".py") else None


def _installed(origin: str) -> bool:
    """Whether a file is a library's: in a folder of installed packages, or part of Python."""
    inside = Path(origin)
    return bool({"site-packages", "dist-packages"} & set(inside.parts)) or inside.is_relative_to(
        sysconfig.get_paths()["stdlib"]
    )


OTHER_NAMES = {
    "PIL": ("pillow",),
    "faiss": ("faiss-cpu", "faiss-gpu-cu12"),
    "sklearn": ("scikit-learn",),
    "yaml": ("pyyaml",),
}
"""What is imported by another name than it is installed by; of several, one is there."""


def _versions(libraries: set[str]) -> dict[str, list[str]]:
    """Versions of what imported names are installed as; none where nothing is."""
    return {library: _version(library) for library in libraries}


@lru_cache
def _version(library: str) -> list[str]:
    names = OTHER_NAMES.get(library, (library,))
    found = [one for name in names if (one := _installed_version(name))]
    if not found:  # reads what every package holds, which takes a second
        found = [one for name in _distributions().get(library, ()) if (one := _installed_version(name))]
    return sorted(set(found))


def _installed_version(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


@lru_cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())
