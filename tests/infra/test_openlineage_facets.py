"""Facets of OpenLineage events: as published, with what is known, and without personal data unless asked."""

from __future__ import annotations

import json
import logging
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet

from royalty.infra.settings import Settings
from royalty.infra.stores.keys import code_commit
from royalty.infra.tracking import facets, openlineage
from royalty.infra.tracking.profiles import Column, contributors_in, profile
from royalty.infra.tracking.source_code import SourceCode, public_address, source_of_file
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.data.items import ImageSet, item_id
from royalty.tasks.stages import running
from royalty.tasks.stages.stage import Stage
from tests.infra.openlineage_facets import check, check_event

FLOW_RUN = str(uuid.uuid4())
NAMES = ("Ann Secret", "Bob Hidden")


@dataclass(frozen=True)
class Inputs:
    images: str
    row: str


@dataclass(frozen=True)
class Outputs:
    """Credit of each contributor.

    More of it is not in the event.
    """

    table: str


Events = Callable[..., list[dict[str, Any]]]


def image_set() -> bytes:
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    owners = [NAMES, NAMES[:1], NAMES[:1]]
    return ImageSet.merge(images, [item_id(image) for image in images], np.zeros(3, int), ["any"], owners).to_bytes()


def credit_table() -> bytes:
    columns = {"contributor": NAMES, "items": [3, 1], "credit": [0.5, np.nan], "note": ["secret", "hidden"]}
    return pd.DataFrame(columns).to_parquet(index=False)


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Events:
    def run(*, fails: bool = False, garbled: bool = False, flow: bool = True, **more: Any) -> list[dict[str, Any]]:
        file = tmp_path / "events.json"
        given = Settings(home=tmp_path / "home", openlineage=str(file), **more)
        for module in (openlineage, facets, running):
            monkeypatch.setattr(module, "settings", lambda: given)
        if flow:
            monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", FLOW_RUN)
            monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__FLOW_NAME", "credit")
        space = open_workspace(given)
        images = space.artifacts.put(b"PAR1 and no more" if garbled else image_set())

        def compute(space: Workspace) -> Outputs:
            if fails:
                raise RuntimeError(f"no image of {NAMES[0]}")
            return Outputs(space.artifacts.put(credit_table()))

        stage = Stage("credit", Inputs, Outputs)
        try:
            running.run_stage(stage, Inputs(images, "a" * 64), compute, modules=("royalty.models.base.errors",))
        except RuntimeError:
            assert fails
        return [json.loads(line) for line in file.read_text().splitlines()]

    return run


def test_facets_are_as_published(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SourceCode("https://example.org/o/r.git", "c" * 40, False, "models/base/errors.py")
    monkeypatch.setattr(facets, "source_of", lambda module: source if module == "royalty.models.base.errors" else None)
    start, complete = events(openlineage_owner="team:ml", openlineage_contributors=True)
    of_run = {"parent", "processing_engine", "tags"}
    of_job = {"job.jobType", "job.documentation", "job.ownership", "job.sourceCodeLocation"}
    of_dataset = {"version", "documentation", "datasetType", "schema", "ownership", "dataQualityMetrics"}
    of_output = {f"outputs.{name}" for name in (*of_dataset, "outputStatistics")}
    assert check_event(start) == of_run | of_job
    assert check_event(complete) == of_run | of_job | {f"inputs.{name}" for name in of_dataset} | of_output
    assert start["run"] == complete["run"]


def test_the_check_sees_what_is_not_as_published() -> None:
    facet = {"_producer": "p", "_schemaURL": "s", "datasetVersion": "d"}
    check(facet, DatasetVersionDatasetFacet)
    wrong: tuple[dict[str, Any], ...] = ({"datasetVersion": 1}, {"more": "x"})
    for changed in wrong:
        with pytest.raises(AssertionError):
            check({**facet, **changed}, DatasetVersionDatasetFacet)
    with pytest.raises(AssertionError):
        check({"_producer": "p", "_schemaURL": "s"}, DatasetVersionDatasetFacet)


def test_a_stage_belongs_to_its_flow_run_and_says_what_it_makes(events: Events) -> None:
    _, complete = events()
    run, job = complete["run"]["facets"], complete["job"]["facets"]
    assert (run["parent"]["run"]["runId"], run["parent"]["job"]["name"]) == (FLOW_RUN, "credit")
    tags = {tag["key"]: tag["value"] for tag in run["tags"]["tags"]}
    assert tags["git.commit"] == code_commit()
    assert len(tags["royalty.stage"]) == 64
    assert job["documentation"]["description"] == "Credit of each contributor."
    assert (job["jobType"]["processingType"], job["jobType"]["jobType"]) == ("BATCH", "STAGE")


def test_outside_a_flow_run_there_is_no_parent(events: Events) -> None:
    assert all("parent" not in event["run"]["facets"] for event in events(flow=False))


def test_datasets_have_version_schema_and_counts(events: Events) -> None:
    _, complete = events()
    (images,), (table,) = complete["inputs"], complete["outputs"]
    assert images["facets"]["version"]["datasetVersion"] == images["name"]
    assert images["facets"]["documentation"]["description"] == "Input `images` of the stage `credit`."
    assert images["facets"]["datasetType"]["subType"] == "IMAGES"
    quality = images["inputFacets"]["dataQualityMetrics"]
    assert (quality["rowCount"], quality["bytes"], quality["fileCount"]) == (3, len(image_set()), 1)
    items = quality["columnMetrics"]["items of a contributor"]
    assert {name: items[name] for name in ("count", "sum", "min", "max")} == {"count": 2, "sum": 4, "min": 1, "max": 3}
    fields = {field["name"]: field["type"] for field in table["facets"]["schema"]["fields"]}
    assert (fields["items"], fields["credit"], list(fields)) == ("int64", "double", [*fields])
    columns = table["facets"]["dataQualityMetrics"]["columnMetrics"]
    assert set(columns) == {"contributor", "items", "credit"}
    assert columns["contributor"]["distinctCount"] == 2
    assert (columns["items"]["min"], columns["items"]["max"], columns["items"]["nullCount"]) == (1, 3, 0)
    statistics = table["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"], statistics["fileCount"]) == (2, len(credit_table()), 1)


def test_no_name_leaves_unless_asked(events: Events) -> None:
    failed, completed = events(fails=True), events()[2:]
    assert [event["eventType"] for event in (*failed, *completed)] == ["START", "FAIL", "START", "COMPLETE"]
    assert completed[1]["inputs"][0]["inputFacets"]["dataQualityMetrics"]["rowCount"] == 3, "the images were read"
    sent = json.dumps([failed, completed])
    assert not [word for word in (*NAMES, "secret", "hidden", "ownership") if word in sent]


@pytest.mark.parametrize(
    ("asked", "message"), [(False, "RuntimeError"), (True, "RuntimeError: no image of Ann Secret")]
)
def test_a_failure_has_its_kind_and_its_message_only_if_names_are_asked_for(
    events: Events, asked: bool, message: str
) -> None:
    _, failed = events(fails=True, openlineage_contributors=asked)
    error = failed["run"]["facets"]["errorMessage"]
    assert (failed["eventType"], error["message"], error["programmingLanguage"]) == ("FAIL", message, "PYTHON")
    check_event(failed)


def test_owners_are_those_of_the_settings(events: Events) -> None:
    _, complete = events(openlineage_owner="team:ml", openlineage_contributors=True)
    team = {"name": "team:ml", "type": "MAINTAINER"}
    contributors = [{"name": name, "type": "CONTRIBUTOR"} for name in NAMES]
    assert complete["job"]["facets"]["ownership"]["owners"] == [team]
    assert complete["inputs"][0]["facets"]["ownership"]["owners"] == [team, *contributors]
    assert complete["outputs"][0]["facets"]["ownership"]["owners"] == [team, *contributors]


def test_a_file_that_cannot_be_profiled_leaves_an_event_with_less(
    events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _, complete = events(garbled=True)
    assert complete["eventType"] == "COMPLETE"
    assert set(complete["inputs"][0]["facets"]) == {"version", "documentation"}
    assert "an OpenLineage event has no profile of" in caplog.text


def test_facets_that_fail_end_nothing(
    events: Events, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(openlineage, "output_dataset", broken)
    with caplog.at_level(logging.WARNING):
        assert [event["eventType"] for event in events()] == ["START"]
    assert "no OpenLineage event was sent to" in caplog.text
    assert open_workspace(Settings(home=tmp_path / "home")).runs.stages("credit")


def test_profiles_of_tables_with_ranges_that_json_has_not_and_of_other_files(tmp_path: Path) -> None:
    table = tmp_path / "table"
    pd.DataFrame({"x": [np.inf, 1.0], "lists": [[1], [2]]}).to_parquet(table, index=False)
    assert profile(table).columns == {"x": Column(count=2, nulls=0, smallest=1.0)}
    other = tmp_path / "other"
    other.write_bytes(b"<html>")
    assert (profile(other).layout, profile(other).size, contributors_in(other)) == ("other", 6, [])
    images = tmp_path / "images"
    images.write_bytes(image_set())
    assert contributors_in(images) == list(NAMES)


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://me:token@example.org:8443/o/r.git?key=1", "https://example.org:8443/o/r.git"),
        ("git@example.org:o/r.git", "https://example.org/o/r.git"),
        ("ssh://git@example.org:22/o/r.git", "https://example.org/o/r.git"),
        ("/home/ann/r.git", "file:///r.git"),
    ],
)
def test_addresses_of_remotes_have_no_secret(remote: str, address: str) -> None:
    assert public_address(remote) == address


def test_source_of_a_file_in_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    file = tmp_path / "stages" / "train.py"
    file.parent.mkdir()
    file.write_text("x = 1\n")
    assert source_of_file(file) is None, "no checkout"
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    assert source_of_file(file) is None, "no remote"
    git("remote", "add", "origin", "https://me:token@example.org/o/r.git")
    source = source_of_file(file)
    expected = SourceCode("https://example.org/o/r.git", git("rev-parse", "HEAD"), False, "stages/train.py")
    assert source == expected
    assert expected.url == f"https://example.org/o/r/blob/{expected.commit}/stages/train.py"
    file.write_text("x = 2\n")
    assert source_of_file(file) == replace(expected, changed=True)
    untracked = tmp_path / "other.py"
    untracked.write_text("")
    assert source_of_file(untracked) is None
