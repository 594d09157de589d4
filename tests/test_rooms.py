"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "models": {"models"},
    "infra": {"infra"},
    "tasks": {"tasks", "models", "infra"},
    "flows": {"flows", "tasks", "models", "infra"},
}


def imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("royalty.")} & ALLOWED.keys()


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_go_one_way(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        assert imported_rooms(path) <= ALLOWED[room], path


def test_numerics_and_workers_import_no_orchestration() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "models").rglob("*.py")]
    modules += ["royalty.tasks.credit.training_worker", "royalty.tasks.credit.coalitions_worker"]
    script = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    script += "assert not {'prefect', 'mlflow'} & set(sys.modules), 'orchestration was imported'"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_no_worker_waits_for_libraries_it_does_not_use() -> None:
    """A U-Net needs no quantization and no networks of others, and an item's value no U-Net."""
    hub = "{'bitsandbytes', 'timm'}"
    for module, unused in (
        ("royalty.tasks.credit.coalitions_worker", hub),
        ("royalty.tasks.items.valuing_worker", "{'diffusers', 'transformers'}"),
    ):
        script = f"import sys, {module}\nassert not {unused} & set(sys.modules), {unused} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_a_run_with_nothing_to_do_waits_for_no_torch() -> None:
    script = "import sys, royalty.flows.credit\nassert not {'torch', 'diffusers', 'mlflow', 'faiss'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
