"""MLflow's runs and the pages of a finished run, made from its stages alone: nothing is trained."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from royalty.infra.pages.contributors import file_of
from royalty.infra.settings import Settings
from royalty.infra.stores.artifacts import ArtifactStore, StoreError
from royalty.infra.tracking.client import open_tracking
from royalty.tasks.report.background import Background
from royalty.tasks.report.report import write_report
from royalty.tasks.report.stages import RunStages, WrittenReport
from royalty.tasks.report.track import track
from tests.tracing import Home, Recorder, made_up

SPLIT = "royalty.tasks.report.track", "royalty.tasks.report.report", "royalty.tasks.stages.running"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    here = Settings(home=tmp_path / "home")
    for module in SPLIT:
        monkeypatch.setattr(f"{module}.settings", lambda: here)
    return made_up(here.root)


def logged(home: Home) -> RunStages:
    """The stages of a made-up home, logged to MLflow as those of another run."""
    stages = replace(home.stages, track=None)
    return replace(stages, track=track.fn("june", home.config.claimed(), stages, home.plans))


def reported(home: Home, stages: RunStages) -> WrittenReport:
    timings = [("train", "1.0 s", "0.9 s", "")]
    return write_report.fn("june", home.config, stages, timings, ["A <note>."], ["A check."])


def test_mlflow_shows_every_stage_and_coalition(home: Home) -> None:
    stages = logged(home)
    outputs = stages.logged_run.outputs
    assert set(outputs.runs) == {*home.stages.keys.values(), *(plan.key for plan in home.plans)} - {
        home.stages.logged_run.key
    }
    client = open_tracking(Settings(home=home.space.root)).client
    run = client.get_run(outputs.run)
    assert run.data.tags["royalty.credit_table"] == stages.credit.outputs.table
    assert run.data.tags["royalty.statement"] == home.statement
    assert run.data.metrics["grand_utility"] == 2.0
    names = {client.get_run(made).info.run_name for made in outputs.runs.values()}
    assert names >= {"ingest", "classifier", "train", "prune", "measure", "credit", "pay", "gmvaluator"}
    base = client.get_run(outputs.runs[stages.train.key])
    assert (base.data.params["training.steps"], base.data.metrics["loss"]) == ("60", 0.25)
    measured = client.get_run(outputs.runs[stages.measure.key]).data.metrics
    assert (measured["utility_real"], measured["step_seconds_base"]) == (1.0, 0.1)
    version = client.get_model_version_by_alias("royalty-june", "credited")
    assert stages.train.outputs.model in str(version.description)
    again = track.fn("june", home.config.claimed(), replace(stages, track=None), home.plans)
    assert (again.reused, again.outputs) == (True, outputs)


def test_the_pages_are_written_and_the_images_are_opened_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    stages, opened = logged(home), Counter[str]()
    for name in ("get", "verified"):
        read = getattr(ArtifactStore, name)

        def counted(store: ArtifactStore, digest: str, read: object = read) -> object:
            opened[digest] += 1
            assert callable(read)
            return read(store, digest)

        monkeypatch.setattr(ArtifactStore, name, counted)
    written = reported(home, stages)
    assert opened[stages.ingest.outputs.train] == 1
    folder = Path(written.folder)
    assert folder == home.space.root / "runs" / "june"
    page = (folder / "report.html").read_text(encoding="utf-8")
    for text in (
        "A &lt;note&gt;.",
        "A check.",
        home.statement,
        "€500.00",
        "6 distinct training images",
        "ann and bob (1)",
    ):
        assert text in page, text
    for person in ("ann", "bob"):
        assert "€500.00" in (folder / file_of(person)).read_text(encoding="utf-8")
    assert (folder / "payout.csv").read_bytes() == home.space.artifacts.get(stages.pay.outputs.payout)
    again = reported(home, stages)
    assert again.stage.reused
    assert again.stage.outputs == written.stage.outputs


def test_a_page_says_what_changed_since_the_last_run(home: Home) -> None:
    reported(home, logged(home))
    recorder = Recorder(home.space, {})
    table = pd.DataFrame({"contributor": ["bob", "ann"], "items": [4, 3], "credit": [1.5, 0.5], "stderr": 0.1})
    outputs = replace(home.stages.credit.outputs, table=recorder.table(table.assign(ci_low=0.1, ci_high=1.9)))
    stages = logged(
        replace(home, stages=replace(home.stages, credit=replace(home.stages.credit, key="c" * 64, outputs=outputs)))
    )
    background = Background.read(home.space, "june", stages)
    assert background.earlier is not None
    assert background.earlier.stages.credit.outputs.table == home.stages.credit.outputs.table
    page = (Path(reported(home, stages).folder) / file_of("ann")).read_text(encoding="utf-8")
    for text in ("+1.0000", "+0.5000", "unchanged", "Rank by credit", "Credit (not certain to have moved)"):
        assert text in page, text


def test_stages_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    home = made_up(tmp_path / "old", lacking={"train": ["parameters", "seed"]})
    keys = home.stages.keys
    with pytest.raises(StoreError, match=r"stage 'train' .* different fields: .*(parameters|seed)"):
        RunStages.kept(home.space, keys.values())
    del keys["pay"], keys["train"]
    with pytest.raises(StoreError, match="lacks the stage 'train'"):
        RunStages.kept(home.space, keys.values())
