"""Published results: a folder, and an MLflow run as MLflow's own client finds it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from royalty.infra.settings import settings
from royalty.infra.tracking.client import KEY_TAG, open_tracking
from royalty.infra.tracking.records import DatasetRecord
from royalty.infra.workspace import Workspace
from royalty.tasks.stages import publishing
from royalty.tasks.stages.publishing import Contents, PublishInputs, PublishOutputs, PublishStage, publish

STAGE = PublishStage("write-something", PublishInputs, PublishOutputs)
INPUTS = PublishInputs("may", "may-something", {"found": "k" * 64}, {"size": 8})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ROYALTY_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


class Making:
    """Makes contents, and counts how often it is asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, space: Workspace) -> Contents:
        self.calls += 1
        rows = pd.DataFrame({"name": ["=ann", "bob"], "score": [0.5, 0.25]})
        return Contents(
            note="A *note*.",
            metrics={"score": 0.75},
            tables={"scores": rows},
            shown={"values": rows},
            files={"picture.png": b"\x89PNG"},
            datasets=[DatasetRecord("train", "a" * 64, {"items": 3})],
            tags={"royalty.values": "b" * 64},
        )


def test_the_folder_and_the_run_hold_what_was_made_once(home: Path) -> None:
    make = Making()
    published = publish(STAGE, INPUTS, make)
    folder = Path(published.folder)
    assert folder == home / "runs" / "may"
    assert {file.name for file in folder.iterdir()} == {"scores.csv", "picture.png"}
    assert (folder / "scores.csv").read_bytes() == b"name,score\r\n'=ann,0.5\r\nbob,0.25\r\n"

    client = open_tracking(settings()).client
    run = client.get_run(published.run)
    assert (run.info.run_name, run.info.status) == ("may-something", "FINISHED")
    assert (run.data.params, run.data.metrics) == ({"size": "8"}, {"score": 0.75})
    assert run.data.tags["mlflow.note.content"] == "A *note*."
    assert run.data.tags["royalty.values"] == "b" * 64
    assert run.data.tags["git.commit"]
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == "train"
    names = {file.path for file in client.list_artifacts(published.run)}
    assert names == {"scores.csv", "picture.png", "scores.json", "values.json"}
    shown = json.loads(Path(client.download_artifacts(published.run, "scores.json")).read_text())
    assert shown["columns"] == ["name", "score"]

    (folder / "picture.png").unlink()
    again = publish(STAGE, INPUTS, make)
    assert (again.run, again.stage.reused, make.calls) == (published.run, True, 1)
    assert (folder / "picture.png").read_bytes() == b"\x89PNG"
    other = publish(STAGE, replace(INPUTS, params={"size": 9}), make)
    assert (other.run != published.run, make.calls) == (True, 2)


def test_what_a_flow_that_died_logged_is_replaced(home: Path) -> None:
    class Failing(Making):
        def __call__(self, space: Workspace) -> Contents:
            return replace(super().__call__(space), metrics={"not a number of MLflow's?": 1.0})

    with pytest.raises(Exception, match="Invalid"):
        publish(STAGE, INPUTS, Failing())
    published = publish(STAGE, INPUTS, Making())
    tracking = open_tracking(settings())
    key = tracking.client.get_run(published.run).data.tags[KEY_TAG]
    experiment = tracking.experiments()["runs"]
    (run,) = tracking.client.search_runs([experiment], f"tags.`{KEY_TAG}` = '{key}'")
    assert run.info.run_id == published.run


def test_a_long_table_is_a_file_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "SHOWN_ROWS", 1)
    published = publish(STAGE, INPUTS, Making())
    files = {file.path for file in open_tracking(settings()).client.list_artifacts(published.run)}
    assert files == {"scores.csv", "picture.png"}
