"""What the version of the code needs of each source file, kept between commands: parsing all of them takes a second."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from royalty.infra.stores.artifacts import write_whole

PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class Source:
    """A source file.

    Attributes:
        digest: SHA-256 of its code, without comments, docstrings, layout and the names of this package's modules.
        imported: dotted names that it imports, anywhere in the file; relative ones begin with dots.
    """

    digest: str
    imported: list[str]


class SourceCache:
    """Sources by the SHA-256 of their file, in a JSON file that commands of one home share."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._known: dict[str, Source] = {}
        self._changed = False

    def open(self, file: Path) -> None:
        """Use a file, which may be missing.

        One of another version of Python or of this module is replaced, and so is one that is damaged: it holds nothing
        that is not read from the sources again.
        """
        if file == self._file:
            return
        self._file, self._changed = file, bool(self._known)
        if file.exists():
            try:
                content = json.loads(file.read_bytes())
            except ValueError:
                content = {"reader": None}
            if content["reader"] == _reader():
                self._known = {key: Source(**entry) for key, entry in content["files"].items()} | self._known

    def read(self, path: Path) -> Source:
        """Read a source file, or find it among those read before."""
        payload = path.read_bytes()
        key = hashlib.sha256(payload).hexdigest()
        if key not in self._known:
            self._known[key], self._changed = parsed(payload.decode()), True
        return self._known[key]

    def save(self) -> None:
        """Write the file, if one is open and sources were read that it lacks."""
        if self._file is not None and self._changed:
            files = {key: asdict(source) for key, source in list(self._known.items())}  # threads add more
            write_whole(self._file, json.dumps({"reader": _reader(), "files": files}).encode())
            self._changed = False


def parsed(text: str) -> Source:
    """Parse the text of a source file."""
    tree = ast.parse(text)
    reduced = _Reduced()
    reduced.visit(tree)
    return Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), reduced.imported)


def in_package(name: str) -> bool:
    """Whether a dotted name is that of this package or something in it."""
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def _reader() -> str:
    """Digest of what determines a `Source` besides the file: this module, and Python, whose syntax trees change."""
    return hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode()).hexdigest()


class _Reduced(ast.NodeTransformer):
    """Removes parts of a syntax tree that do not affect results, and collects the dotted names that it imports.

    Removed are docstrings and the names of this package's modules: an import keeps only the imported names, and a
    string `module:name` keeps only the part after the colon.
    """

    def __init__(self) -> None:
        self.imported: list[str] = []

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        module = "." * node.level + (node.module or "")
        within = module if node.module is None else f"{module}."
        self.imported += [module, *(f"{within}{alias.name}" for alias in node.names)]
        return ast.ImportFrom("", node.names, 0) if in_package(module) else node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        self.imported += [alias.name for alias in node.names]
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":  # always false at run time
            node.body = [ast.Pass()]
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str) and in_package(node.value):
            return ast.Constant(node.value.partition(":")[2])
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
        return super().generic_visit(node)
