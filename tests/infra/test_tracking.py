"""MLflow without our tools: what its own client finds of what was logged."""

from __future__ import annotations

from pathlib import Path

import pytest

from royalty.infra.settings import Settings
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord
from royalty.infra.tracking.client import Tracking, open_tracking
from royalty.tasks.report.track import coalition_run, escaped

BROUGHT = {"ann": "a" * 64, "bob": "b" * 64}


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return open_tracking(Settings(home=tmp_path))


def record(members: list[str], utility: float) -> tuple[CoalitionRecord, MeasurementRecord]:
    key = digest_of(members)
    row = CoalitionRecord(key, members, "sparsified", 0, 7, 1.0, "cpu", key)
    return row, MeasurementRecord(digest_of([key]), key, "fid", 0, utility, 1.0, 1.0)


def test_what_is_logged_is_found_sorted_linked_and_described(tracking: Tracking) -> None:
    parent = tracking.start(tracking.RUNS, "may", key="k", note="A note.")
    given = [record([], -3.0), record(["ann"], 2.0), record(["ann", "bob"], 1.0)]
    seen: list[int] = []
    finished = [coalition_run(row, [measured], BROUGHT) for row, measured in given]
    ids = tracking.record_all(tracking.COALITIONS, finished, parent, seen.append)
    assert len(seen) == 3
    assert set(ids) == {row.key for row, _ in given}
    experiment = tracking.experiments()["coalitions"]
    for order, sizes in (("metrics.utility DESC", [1, 2, 0]), ("metrics.size DESC", [2, 1, 0])):
        found = tracking.client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'", order_by=[order])
        assert [run.data.metrics["size"] for run in found] == sizes
        assert {run.info.status for run in found} == {"FINISHED"}
    (dataset,) = found[1].inputs.dataset_inputs
    whole = found[1].data.tags["royalty.dataset.coalition"]
    assert (whole, len(whole)) == (digest_of({"ann": "a" * 64}), 64)
    assert dataset.dataset.digest == whole[:32]
    assert "1 of 2 contributors" in found[1].data.tags["mlflow.note.content"]
    assert "by utility" not in found[1].data.tags["mlflow.note.content"]

    model = tracking.model(parent, "base", b"weights", "d" * 64, {"parameters": 3.0})
    assert tracking.register("royalty-may", model, parent, "Base.", ["candidate", "credited"]) == "1"
    again = tracking.model(parent, "base", b"others", "e" * 64, {"parameters": 3.0})
    assert tracking.register("royalty-may", again, parent, "Base.", ["candidate"]) == "2"
    versions = {
        alias: tracking.client.get_model_version_by_alias("royalty-may", alias) for alias in ("candidate", "credited")
    }
    assert {alias: int(version.version) for alias, version in versions.items()} == {"candidate": 2, "credited": 1}
    assert versions["credited"].run_id == parent


def test_markdown_shows_names_as_they_are() -> None:
    assert escaped("<script>*[x](y)*") == r"\<script\>\*\[x\]\(y\)\*"
    assert escaped("Zoë 王") == "Zoë 王"
