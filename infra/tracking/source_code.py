"""Where the code of a stage is: its repository, commit and file."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

SCP = re.compile(r"(?:[^@/]+@)?(?P<host>[^:/]+):(?P<path>[^/].*)")
"""An address in the form of scp, such as git@host:owner/name.git."""


@dataclass(frozen=True)
class SourceCode:
    """A file in a git repository.

    Attributes:
        repository: its address, without user and password.
        commit: 40 hexadecimal digits.
        changed: files of the checkout differ from the commit.
        path: from the top of the repository.
    """

    repository: str
    commit: str
    changed: bool
    path: str

    @property
    def url(self) -> str:
        """Address of the file at its commit, in the layout of GitHub, GitLab and Gitea."""
        return f"{self.repository.removesuffix('.git')}/blob/{self.commit}/{self.path}"


@lru_cache
def source_of(module: str) -> SourceCode | None:
    """The source of a module; None if it is not in a git checkout, or that has no remote `origin`."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return None
    return source_of_file(Path(spec.origin).resolve())


def source_of_file(file: Path) -> SourceCode | None:
    """The source of a file; see `source_of`."""
    tracked = _git(file.parent, "ls-files", "--full-name", "--error-unmatch", "--", file.name)
    origin = _git(file.parent, "remote", "get-url", "origin")
    commit = _git(file.parent, "rev-parse", "HEAD")
    if not tracked or not origin or not commit:
        return None
    return SourceCode(public_address(origin), commit, bool(_git(file.parent, "status", "--porcelain", "-uno")), tracked)


def public_address(remote: str) -> str:
    """The address of a remote for a browser, without user, password and query, which may be secret."""
    if "://" not in remote and (match := SCP.fullmatch(remote)):
        return f"https://{match['host']}/{match['path']}"
    parts = urlsplit(remote)
    if parts.scheme in ("http", "https"):
        port = f":{parts.port}" if parts.port else ""
        return urlunsplit((parts.scheme, f"{parts.hostname}{port}", parts.path, "", ""))
    if parts.scheme in ("ssh", "git"):
        return urlunsplit(("https", parts.hostname or "", parts.path, "", ""))
    return "file:///" + Path(parts.path).name  # a folder of this machine, whose place is nobody's business


def _git(folder: Path, *arguments: str) -> str:
    """The output of a git command; empty if it fails."""
    try:
        result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
