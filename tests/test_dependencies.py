"""What is imported is what is depended on."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from importlib.util import find_spec

import pytest

from royalty.flows.preset_files import FIRST_PRESET, preset_values
from royalty.infra.stores import keys
from tests.test_rooms import ADAPTERS, FILES, ROOT


def imported_names() -> set[str]:
    """Top-level names of all that the product imports, wherever it does; Python's own and its own left out.

    Adapters are left out, too: they are imported where the package that they fit into is there.
    """
    names: set[str] = set()
    for path in (path for name, path in FILES.items() if name not in ADAPTERS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
    return names - {"royalty", *sys.stdlib_module_names}


def required(requirements: Iterable[str]) -> set[str]:
    """Names of what requirements ask for, as packaging normalizes them."""
    return {normalized(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]) for requirement in requirements}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def dependencies() -> tuple[set[str], set[str]]:
    """What the product depends on, and what its extras do; what its developers need left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    optional = set().union(*(required(asked) for extra, asked in extras if extra != "dev"))
    return required(project["dependencies"]), optional


def test_dependencies_are_what_is_imported() -> None:
    """No main dependency is left over from what was replaced, and nothing is there only because another brings it."""
    main, optional = dependencies()
    typefaces = set(preset_values(FIRST_PRESET)["data"]["packages"])  # found by their names, and not imported
    assert typefaces <= main
    providers = packages_distributions()
    provided = {name: {normalized(package) for package in providers.get(name, [name])} for name in imported_names()}
    assert not {name for name, packages in provided.items() if not packages & (main | optional)}
    assert main - typefaces <= set().union(*provided.values())


def test_versions_of_libraries_are_found_without_reading_every_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes each run seconds of a processor."""
    monkeypatch.setattr(keys, "_distributions", lambda: pytest.fail("a library is missing from OTHER_NAMES"))
    keys._version.cache_clear()
    installed = {name for name in imported_names() if find_spec(name) is not None}
    assert all(keys._version(name) for name in installed)
