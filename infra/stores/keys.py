"""What makes two computations the same: canonical JSON, and the version of the code that runs them."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NUMERIC_LIBRARIES = ("torch", "diffusers", "torch-pruning", "numpy", "scipy", "scikit-learn", "pillow")


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal for equal values in every process."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


@lru_cache
def code_version(*modules: str) -> str:
    """Digest of the numeric code that these modules run, and of the libraries under it.

    Covers each module and every module under `models` that it imports, however deep. Comments,
    docstrings and layout do not count, so that tidying a file repeats no training.
    """
    sources: dict[str, str] = {}
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name in sources:
            continue
        tree = _parse(name)
        sources[name] = ast.dump(tree)
        pending += [imported for imported in _imports(tree) if imported.startswith("royalty.models.")]
    libraries = {library: version(library) for library in NUMERIC_LIBRARIES}
    return digest_of({"sources": sources, "libraries": libraries})


@lru_cache
def code_commit() -> str:
    """The git commit that this package runs from, marked where files differ from it, or its version."""
    here = Path(__file__).parent
    described = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
    )
    return described.stdout.strip() if described.returncode == 0 else f"royalty {version('royalty')}"


def _parse(name: str) -> ast.Module:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ValueError(f"a code version covers modules of this package; there is no module {name!r}")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return tree


def _imports(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names
