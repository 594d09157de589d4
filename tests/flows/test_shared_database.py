"""Two homes on one database: the second makes the files again that only the first has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from royalty.infra.settings import Settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.tasks.stages.running import run_here
from royalty.tasks.stages.stage import Stage


@dataclass(frozen=True)
class Seed:
    seed: int


@dataclass(frozen=True)
class Made:
    table: str
    of_a_user: str


MAKE = Stage("make", Seed, Made)


def test_a_second_home_makes_what_it_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Path] = []

    def compute(space: Workspace) -> Made:
        ran.append(space.root)
        return Made(space.artifacts.put(b"a table"), "f" * 64)  # the other digest names no file of a home

    first, second = (
        Settings(home=tmp_path / name, database_url=f"sqlite:///{tmp_path / 'shared.db'}") for name in ("a", "b")
    )
    for home in (first, second, second, first):
        monkeypatch.setattr("royalty.tasks.stages.running.settings", lambda home=home: home)
        made = run_here(MAKE, Seed(0), compute)
        assert open_workspace(home).artifacts.get(made.outputs.table) == b"a table"
    assert ran == [tmp_path / "a", tmp_path / "b"], "once in each home, and then it is reused"
    open_workspace(second).artifacts.path(made.outputs.table).unlink()
    monkeypatch.setattr("royalty.tasks.stages.running.settings", lambda: second)
    run_here(MAKE, Seed(0), compute)
    assert len(ran) == 3, "so is a file that was deleted"
