"""OpenLineage events of stages: complete, and without effect on the run."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from royalty.infra.settings import Settings
from royalty.infra.tracking import openlineage
from royalty.infra.workspace import Workspace, open_workspace
from royalty.tasks.stages import running
from royalty.tasks.stages.stage import Stage


@dataclass(frozen=True)
class Inputs:
    train: str


@dataclass(frozen=True)
class Outputs:
    model: str


def use(monkeypatch: pytest.MonkeyPatch, given: Settings) -> None:
    for module in (openlineage, running):
        monkeypatch.setattr(module, "settings", lambda: given)


def run(name: str, used: str, fails: bool = False) -> None:
    def compute(space: Workspace) -> Outputs:
        if fails:
            raise RuntimeError("no")
        return Outputs(space.artifacts.put(b"made"))

    modules = ("royalty.models.base.errors",)
    running.run_stage(Stage(name, Inputs, Outputs), Inputs(used), compute, modules=modules)


def test_start_complete_and_fail_with_their_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = tmp_path / "events" / "all.json"
    given = Settings(home=tmp_path / "home", openlineage=str(events))
    use(monkeypatch, given)
    used = open_workspace(given).artifacts.put(b"images")
    run("train", used)
    with pytest.raises(RuntimeError, match="no"):
        run("prune", used, fails=True)
    sent = [json.loads(line) for line in events.read_text().splitlines()]
    assert [(event["job"]["name"], event["eventType"]) for event in sent] == [
        ("train", "START"),
        ("train", "COMPLETE"),
        ("prune", "START"),
        ("prune", "FAIL"),
    ]
    assert sent[0]["run"] == sent[1]["run"] != sent[2]["run"]
    made = open_workspace(given).artifacts.put(b"made")
    assert [one["name"] for one in sent[1]["inputs"]] == [used]
    assert [one["name"] for one in sent[1]["outputs"]] == [made]
    run("train", used)
    assert len(events.read_text().splitlines()) == 4, "a stage that is reused did not run"


@pytest.mark.parametrize("target", ["/proc/nowhere/events.json", "http://127.0.0.1:9/events"])
def test_an_event_that_cannot_be_sent_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    use(monkeypatch, Settings(home=tmp_path, openlineage=target))
    with caplog.at_level(logging.WARNING):
        run("train", "a" * 64)
    assert f"no OpenLineage event was sent to {target}" in caplog.text


def test_off_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Settings(home=tmp_path))
    monkeypatch.setattr(openlineage, "_emit", lambda *_: pytest.fail("an event was made"))
    run("train", "a" * 64)
