"""MLflow without our tools: what its own client finds of what was logged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from royalty.infra.settings import Settings
from royalty.infra.stores.keys import digest_of
from royalty.infra.stores.runstore import CoalitionRecord, MeasurementRecord
from royalty.infra.tracking.addresses import artifact_page, described_run
from royalty.infra.tracking.client import CREDIT_TAG, Tracking, open_tracking, used_tag
from royalty.infra.tracking.records import DatasetRecord, ModelRecord, Payment, Period
from royalty.infra.tracking.source import source_tags
from royalty.tasks.report.coalition_runs import coalition_name, coalition_run
from royalty.tasks.report.text import escaped

THEN = Period(1_000.0, 1_010.0)
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

    model = tracking.model(parent, ModelRecord("base", "d" * 64, {"parameters": 3.0}), lambda: b"weights", THEN)
    aliases = ["candidate", "credited"]
    assert tracking.register("royalty-may", model, parent, "Base.", aliases, card="# May", digest="d" * 64) == "1"
    other = tracking.model(parent, ModelRecord("base", "e" * 64, {"parameters": 3.0}), lambda: b"others", THEN)
    assert tracking.register("royalty-may", other, parent, "B.", ["candidate"], card="# May", digest="e" * 64) == "2"
    versions = {
        alias: tracking.client.get_model_version_by_alias("royalty-may", alias) for alias in ("candidate", "credited")
    }
    assert {alias: int(version.version) for alias, version in versions.items()} == {"candidate": 2, "credited": 1}
    assert versions["credited"].run_id == parent


def test_a_run_has_its_times_its_user_and_its_source(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/royalty", "evaluate", "lds", "--json", "more"])
    monkeypatch.setattr("getpass.getuser", lambda: "zoë")
    tags = source_tags(f"{'c' * 40}-dirty")
    run = tracking.start(tracking.RUNS, "may", key="k", tags=tags, started=1_000.5)
    tracking.finish(run, 1_143.5)
    found = tracking.client.get_run(run)
    assert found.info.end_time - found.info.start_time == 143_000
    assert found.data.tags["mlflow.user"] == "zoë"
    assert found.data.tags["mlflow.source.name"] == "royalty evaluate lds"
    assert found.data.tags["mlflow.source.git.commit"] == "c" * 40
    assert found.data.tags["git.commit"] == f"{'c' * 40}-dirty"
    assert "mlflow.source.git.commit" not in source_tags("royalty 1.0")
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "of a worker")
    assert source_tags("royalty 1.0")["mlflow.source.name"] == "Prefect deployment"


def test_the_address_of_a_run_is_that_of_the_server_or_says_how_to_open_it(tmp_path: Path) -> None:
    shared = Settings(home=tmp_path, mlflow_uri="https://mlflow.example.org/")
    assert described_run(shared, "f00") == "https://mlflow.example.org/#/runs/f00"
    assert described_run(Settings(home=tmp_path), "f00") == "f00 (`royalty ui` shows it at /#/runs/f00)"
    page = "https://mlflow.example.org/#/experiments/1/runs/f00/artifacts/report.html?workflowType=machine_learning"
    assert artifact_page(shared.mlflow_uri, "1", "f00", "report.html") == page


def test_experiments_open_at_runs_and_not_at_traces(tracking: Tracking) -> None:
    tracking.client.create_experiment(tracking.RUNS)  # of an earlier version: without a kind
    for experiment in tracking.experiments().values():
        kind = tracking.client.get_experiment(experiment).tags["mlflow.experimentKind"]
        assert kind == "custom_model_development"


def test_a_coalition_has_a_curve_over_its_time_a_start_and_a_readable_name(tracking: Tracking) -> None:
    parent = tracking.start(tracking.RUNS, "may", key="k")
    pruned = tracking.model(parent, ModelRecord("pruned", "d" * 64, {}), lambda: b"weights", THEN)
    row, measured = record(["ann"], 2.0)
    run = coalition_run(row, [measured], BROUGHT, losses=[[5, 0.5], [10, 0.25]], start=pruned)
    logged = tracking.record_all(tracking.COALITIONS, [run], parent, lambda _done: None)[row.key]
    found = tracking.client.get_run(logged)
    assert found.info.run_name == "1 of 2: ann"
    assert found.info.end_time - found.info.start_time == 3_000  # a second each of training, sampling and measuring
    assert [model.model_id for model in found.inputs.model_inputs] == [pruned]
    curve = tracking.client.get_metric_history(logged, "loss")
    assert [(point.step, point.value) for point in curve] == [(5, 0.5), (10, 0.25)]
    assert [point.timestamp - found.info.start_time for point in curve] == [1_500, 3_000]


def test_names_of_coalitions_are_short() -> None:
    people = [f"person {number}" for number in range(30)]
    assert coalition_name([], 30) == "0 of 30: nobody"
    assert coalition_name(people, 30) == "30 of 30: everybody"
    name = coalition_name(people[:20], 30)
    assert name.startswith("20 of 30: person 0, person 1")
    assert name.endswith("…")
    assert len(name) < 80


def test_what_an_earlier_run_logged_is_used_and_not_logged_again(tracking: Tracking) -> None:
    first, second = (tracking.start(tracking.RUNS, "may", key=key) for key in ("k", "l"))
    runs = [coalition_run(row, [measured], BROUGHT) for row, measured in (record(["ann"], 2.0), record([], 1.0))]
    ids = tracking.record_all(tracking.COALITIONS, runs, first, lambda _done: None)
    gone, kept = runs[0].key, runs[1].key
    tracking.client.delete_run(ids[gone])
    again = tracking.record_all(
        tracking.COALITIONS, runs, second, lambda _done: None, logged={key: [run] for key, run in ids.items()}
    )
    assert again[kept] == ids[kept]
    assert again[gone] != ids[gone]
    experiment = tracking.experiments()["coalitions"]
    used = tracking.client.search_runs([experiment], f"tags.`{used_tag(second)}` = 'yes'")
    assert {run.info.run_id for run in used} == set(again.values())

    base = ModelRecord("base", "d" * 64, {"utility": 2.0}, DatasetRecord("validation", "a" * 64, {}, "evaluation"))
    model = tracking.model(first, base, lambda: b"weights", THEN)

    def read() -> bytes:
        raise AssertionError("a model in the store is not read again")

    assert tracking.model(second, base, read, THEN) == model
    assert [output.model_id for output in tracking.client.get_run(second).outputs.model_outputs] == [model]
    metric = tracking.client.get_logged_model(model).metrics[0]
    assert (metric.key, metric.dataset_name, metric.dataset_digest) == ("utility", "validation", "a" * 32)
    for run in (first, second):
        assert tracking.register("royalty-may", model, run, "", [], card="#", digest="d" * 64) == "1"
        tags = tracking.client.get_logged_model(model).tags
        assert json.loads(tags["mlflow.modelVersions"]) == [{"name": "royalty-may", "version": "1"}], (
            "its page lists it"
        )
    assert tracking.client.get_registered_model("royalty-may").description == "#"


def test_metrics_of_a_model_name_the_data_that_they_come_from(tracking: Tracking) -> None:
    train, validation = DatasetRecord("train", "a" * 64, {}), DatasetRecord("validation", "b" * 64, {}, "evaluation")
    record = ModelRecord(
        "base", "d" * 64, {"utility": 2.0}, validation,
        size={"parameters": 7.0}, losses=[[5, 0.5], [10, 0.25]], trained_on=train,
    )  # fmt: skip
    tags = source_tags("royalty 1.0")
    run = tracking.start(tracking.RUNS, "train", key="k", tags=tags)
    model = tracking.model(run, record, lambda: b"weights", THEN)
    logged_from = tracking.client.get_logged_model(model).tags["mlflow.source.name"]
    assert logged_from == tags["mlflow.source.name"], "what the list of models calls Logged from"
    read = {
        (metric.key, metric.step, metric.value): (metric.dataset_name, metric.dataset_digest)
        for metric in tracking.client.get_logged_model(model).metrics
    }
    assert read == {
        ("utility", 0, 2.0): ("validation", "b" * 32),
        ("parameters", 0, 7.0): (None, None),
        ("loss", 10, 0.25): ("train", "a" * 32),
    }, "of the loss curve, the last value alone"
    curve = tracking.client.get_metric_history(run, "loss")
    assert [(point.step, point.timestamp) for point in curve] == [(5, 1_005_000), (10, 1_010_000)]
    on = {name: [{"dataset_name": name, "dataset_digest": digest}] for name, digest in set(read.values()) if name}
    for name, metric in (("train", "loss"), ("validation", "utility")):
        found = tracking.client.search_logged_models(
            [tracking.experiments()["runs"]], f"metrics.{metric} > 0", datasets=on[name]
        )
        assert [each.model_id for each in found] == [model], f"found by its {metric} on {name}"


def test_markdown_shows_names_as_they_are() -> None:
    assert escaped("<script>*[x](y)*") == r"\<script\>\*\[x\]\(y\)\*"
    assert escaped("Zoë 王") == "Zoë 王"


def test_the_last_checkpoint_of_the_ledger_is_logged_with_the_payment(tracking: Tracking, tmp_path: Path) -> None:
    runs = tracking._experiment(Tracking.RUNS)
    paid, other = (tracking.client.create_run(runs, tags={CREDIT_TAG: table}).info.run_id for table in ("a", "b"))
    checkpoint = tmp_path / "00000001.json"
    checkpoint.write_text("{}")
    tracking.show_payment("a", Payment("paid", "paid."), checkpoint)
    assert [file.path for file in tracking.client.list_artifacts(paid, "ledger")] == ["ledger/00000001.json"]
    assert tracking.client.list_artifacts(other, "ledger") == []
