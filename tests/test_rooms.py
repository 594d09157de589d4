"""The house rules that a machine can check; see ARCHITECTURE.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "models": {"models"},
    "infra": {"infra"},
    "tasks": {"tasks", "models", "infra"},
    "flows": {"flows", "tasks", "models", "infra"},
}
MOST_LINES = 400


def name_of(path: Path) -> str:
    """`models.data.items` for a file of a room."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES: Mapping[str, Path] = {name_of(path): path for room in ALLOWED for path in (ROOT / room).rglob("*.py")}
WORKERS = [name for name in FILES if name.endswith("_worker")]
ADAPTERS = {name for name in FILES if name.startswith("models.adapters.")}
"""Imported by users of packages that are not installed here; see `tests/models/test_adapters.py`."""


@cache
def imports_of(name: str) -> frozenset[str]:
    """Files of the rooms that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(dotted.removeprefix("royalty.") for dotted in found) & FILES.keys()


def folder_of(name: str) -> str:
    """`models.data` for `models.data.items`; a file that stands in no folder is one by itself."""
    return ".".join(name.split(".")[:2])


def circles(arrows: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Ways along the arrows that come back to where they began."""

    def walk(way: list[str]) -> Iterator[list[str]]:
        for after in arrows.get(way[-1], ()):
            if after == way[0]:
                yield [*way, after]
            elif after not in seen:
                seen.add(after)
                yield from walk([*way, after])

    for start in arrows:
        seen = {start}
        yield from walk([start])


def run_python(script: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_go_one_way(room: str) -> None:
    for name in FILES:
        if name.split(".")[0] == room:
            assert {imported.split(".")[0] for imported in imports_of(name)} <= ALLOWED[room], name


@pytest.mark.parametrize("room", ALLOWED)
def test_between_the_folders_of_a_room_is_no_circle(room: str) -> None:
    arrows: dict[str, set[str]] = {}
    for name in FILES:
        inside = {folder_of(imported) for imported in imports_of(name) if imported.startswith(f"{room}.")}
        if name.startswith(f"{room}."):
            arrows.setdefault(folder_of(name), set()).update(inside - {folder_of(name)})
    assert next(circles(arrows), None) is None


def test_no_files_import_each_other() -> None:
    assert next(circles({name: set(imports_of(name)) for name in FILES}), None) is None


def test_a_circle_is_seen() -> None:
    assert next(circles({"a": {"b"}, "b": {"c"}, "c": {"a"}}), None) == ["a", "b", "c", "a"]
    assert next(circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}), None) is None


def test_files_have_one_reason_to_exist() -> None:
    long = {name: lines for name, path in FILES.items() if (lines := path.read_text().count("\n")) > MOST_LINES}
    assert not long
    assert not [name for name in FILES if name.endswith("utils")]


@pytest.mark.slow
def test_numerics_and_workers_import_no_orchestration() -> None:
    numerics = {name for name in FILES if name.startswith("models.")} - ADAPTERS
    modules = [f"royalty.{name}" for name in (*sorted(numerics), *WORKERS)]
    run_python(
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "assert not {'prefect', 'mlflow'} & set(sys.modules), 'orchestration was imported'"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "unused"),
    [
        ("royalty.tasks.credit.coalitions_worker", {"bitsandbytes", "timm"}),
        ("royalty.tasks.items.valuing_worker", {"diffusers", "transformers"}),
    ],
)
def test_no_worker_waits_for_libraries_it_does_not_use(module: str, unused: set[str]) -> None:
    """A U-Net needs no quantization and no networks of others, and an item's value no U-Net."""
    run_python(f"import sys, {module}\nassert not {unused} & set(sys.modules), {unused} & set(sys.modules)")


def test_a_run_with_nothing_to_do_waits_for_no_torch() -> None:
    heavy = {"torch", "diffusers", "mlflow", "faiss"}
    run_python(f"import sys, royalty.flows.credit\nassert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)")


def test_a_refused_configuration_waits_for_no_libraries() -> None:
    heavy = {"prefect", "mlflow", "sqlalchemy", "pandas", "pyarrow", "scipy", "torch"}
    run_python(
        "import sys; sys.argv = ['royalty', 'run', '--config', 'missing.yaml']\n"
        "from royalty.flows.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as ended: assert ended.code == 1\n"
        f"assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    )
