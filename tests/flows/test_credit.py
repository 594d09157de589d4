"""The whole flow through the installed command line: real, small, killed, interrupted, repeated."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.sorting import ArtifactSort
from safetensors.numpy import load_file

from royalty.infra.ledger.ledger import Ledger
from royalty.infra.stores.database import open_database
from tests.conftest import FOLDER, LONG, ROYALTY, SMALL, Credited, Run, processes_of, save_digits


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def result_of(completed: subprocess.CompletedProcess[str]) -> dict:
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


def coalition_rows(home: Path) -> dict[str, tuple]:
    """Key, utility and time of recording of every finished coalition."""
    try:
        with sqlite3.connect(f"file:{home / 'royalty.db'}?mode=ro", uri=True) as database:
            return {
                row[0]: row for row in database.execute("select key, coalition, utility, created_at from measurements")
            }
    except sqlite3.OperationalError:
        return {}


def start_and_signal(
    arguments: list[str], environment: dict[str, str], number: signal.Signals, finished: int
) -> subprocess.CompletedProcess[str]:
    """Start the command line, and signal it once so many coalitions are finished."""
    home = Path(environment["ROYALTY_HOME"])
    with subprocess.Popen(
        [ROYALTY, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + LONG
        while len(coalition_rows(home)) < finished and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=LONG)
    assert len(coalition_rows(home)) >= finished, err
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def processor_seconds() -> float:
    """Of all commands that have ended; the clock would count what tests beside this one do."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.cli
def test_the_terminal_shows_the_job_and_only_the_job_and_nothing_is_left_running(credited: Credited) -> None:
    """By the installed command, with a server of its own."""
    done = credited.done
    assert done.stderr == ""
    for text in ("Train generator", "Measure coalitions", "blurred-scanner", "orchestration", "report.html", "MLflow"):
        assert text in done.stdout
    shown = done.stdout.replace(str(credited.home), "").replace("standard error", "")
    assert not re.search("warn|error|traceback|prefect|telemetry", shown, re.IGNORECASE)
    assert credited.left == []


@pytest.mark.cli
def test_credits_reports_pays_and_tracks_then_reuses_everything(
    credited: Credited, installed: Run, royalty: Run, config: Path, tmp_path: Path
) -> None:
    home = credited.copy_to(tmp_path)
    start = processor_seconds()
    result = result_of(installed("run", "--config", str(config), "--json"))
    assert processor_seconds() - start < 20
    assert result["measured"] == 0
    assert result["reused"] == len(coalition_rows(home)) == 8
    assert all(timing["reused"] for timing in result["timings"])
    assert result["mlflow_run"] in credited.done.stdout
    folder = Path(result["folder"])
    table = pd.read_parquet(folder / "credit.parquet")
    assert list(table.columns) == ["contributor", "items", "credit", "stderr", "ci_low", "ci_high"]
    assert table["credit"].is_monotonic_decreasing
    payout = list(csv.DictReader((folder / "payout.csv").open()))
    assert sum(round(100 * float(row["amount"])) for row in payout) == 100_000
    assert [row["contributor"] for row in payout] == table["contributor"].tolist()

    ledger = Ledger(open_database(f"sqlite:///{home / 'royalty.db'}"))
    assert ledger.balance("small") == {row["contributor"]: round(100 * float(row["amount"])) for row in payout}

    _check_mlflow(home, result, table)
    pages = {page.read_text() for page in (folder / "contributors").iterdir()}
    assert len(pages) == len(table)
    assert sum("By GMValuator" in page and "blurred-scanner" in page for page in pages) == 1
    html = (folder / "report.html").read_text()
    for text in (
        result["mlflow_run"],
        "blurred-scanner",
        "€1,000.00",
        "Inception Score",
        "Training images most similar",
    ):
        assert text in html

    (folder / "report.html").unlink()
    again = result_of(royalty("run", "--config", str(config), "--json"))
    assert (folder / "report.html").read_text() == html
    assert {**again, "timings": 0} == {**result, "timings": 0}

    config.write_text(SMALL.replace("recovery_steps: 5", "recovery_steps: 6"))
    refused = royalty("run", "--config", str(config))
    assert refused.returncode == 1
    assert "pruning.recovery_steps: was 5, is now 6" in refused.stderr
    assert refused.stderr.count("\n") < 6


@pytest.mark.slow
def test_a_refused_payout_hides_no_credit_and_a_flag_pays_it(
    credited: Credited, royalty: Run, config: Path, tmp_path: Path
) -> None:
    home = credited.copy_to(tmp_path)
    config.write_text(SMALL.replace("stderr: null", "stderr: 1.0e-9"))
    strict = ["run", "--config", str(config), "--name", "strict"]
    refused = royalty(*strict)
    assert refused.returncode == 1
    assert "`payout.limits.stderr` is 1e-09" in refused.stderr
    assert "`--accept-uncertainty`" in refused.stderr
    for text in ("blurred-scanner", "none", "report.html"):
        assert text in refused.stdout
    report = home / "runs" / "strict" / "report.html"
    assert "Nothing is paid" in report.read_text(encoding="utf-8")
    ledger = Ledger(open_database(f"sqlite:///{home / 'royalty.db'}"))
    assert ledger.balance("strict") == {}
    shown = royalty(*strict, "--json")
    assert shown.returncode == 1
    assert "payout.limits.stderr" in json.loads(shown.stdout)["refusal"]

    paid = result_of(royalty(*strict, "--accept-uncertainty", "--json"))
    assert paid["refusal"] is None
    assert sum(ledger.balance("strict").values()) == 100_000
    assert "which these terms do not limit" in report.read_text(encoding="utf-8")


TITLES = {
    "1 base model": [15, 30, 45, 60],
    "2 pruned model before recovery": [0],
    "3 pruned model after recovery": [0],
    "4 model of nobody": [0],
    "5 model of everybody": [0],
}
"""Series of sampled images, and the steps of their models."""


def _check_mlflow(home: Path, result: dict, table: pd.DataFrame) -> None:
    client = MlflowClient(f"sqlite:///{home / 'mlflow' / 'mlflow.db'}")
    parent = client.get_run(result["mlflow_run"])
    assert parent.info.status == "FINISHED"
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|royalty .*", parent.data.tags["git.commit"])
    assert len(parent.data.tags["prefect.flow_run_id"]) == 36
    assert parent.info.end_time - parent.info.start_time > 1000 * max(timing["seconds"] for timing in result["timings"])
    assert parent.data.tags["mlflow.source.name"] == "royalty run"
    datasets = {given.dataset.name: given.dataset.digest for given in parent.inputs.dataset_inputs}
    assert set(datasets) == {"train", "validation", "classifier"}
    assert datasets["train"] == parent.data.tags["royalty.dataset.train"][:32]
    experiments = {experiment.name: experiment.experiment_id for experiment in client.search_experiments()}
    children = f"tags.`mlflow.parentRunId` = '{result['mlflow_run']}'"
    stages = client.search_runs([experiments["royalty"]], children)
    names = {"ingest", "classifier", "train", "prune", "measure", "samples", "credit", "pay", "gmvaluator"}
    assert {run.info.run_name for run in stages} == names
    coalitions = client.search_runs([experiments["royalty-coalitions"]], children, order_by=["metrics.utility DESC"])
    assert len(coalitions) == result["reused"]
    assert {run.info.status for run in [*stages, *coalitions]} == {"FINISHED"}
    titles = {run.info.run_name for run in coalitions}
    assert titles >= {"0 of 3: nobody", "3 of 3: everybody"}
    trained = [run for run in coalitions if run.data.metrics["size"]]
    assert all(client.get_metric_history(run.info.run_id, "loss") for run in trained)
    # Found runs come without the models that they started from.
    assert all(client.get_run(run.info.run_id).inputs.model_inputs for run in trained)
    for curve in ("loss/classifier", "loss/base", "loss/recovery", "utility/by_size"):
        assert len(client.get_metric_history(parent.info.run_id, curve)) > 1, curve
    models = client.search_logged_models([experiments["royalty"]])
    assert {model.name for model in models} == {"base", "pruned"}
    for model in models:
        assert load_file(Path(model.artifact_location.removeprefix("file://")) / "model.safetensors")
    files = {entry.path for entry in client.list_artifacts(result["mlflow_run"])}
    tables = {"credit.parquet", "payout.csv", "values.parquet", "contributions.parquet"}
    shown = {"report.html", "images", "MODEL_CARD.md", "property-by-size.png"}
    assert files == {*shown, "ledger", "credit.json", "payout.json", "values.json", *tables}
    sheets = {file.path.partition("+timestamp")[0] for file in client.list_artifacts(result["mlflow_run"], "images")}
    steps = [sheet.removeprefix("images/").split("+step+") for sheet in sheets]
    series = {title: [int(step) for name, step in steps if name == title] for title in TITLES}
    assert {title: sorted(made) for title, made in series.items()} == TITLES
    assert parent.data.tags["royalty.credit_table"] == result["table"]
    assert {int(version.version) for version in client.search_model_versions("name = 'royalty-small'")} == {1}
    assert str(client.get_model_version_by_alias("royalty-small", "credited").version) == "1"
    assert parent.data.metrics["utility/everybody"] - parent.data.metrics["utility/nobody"] == pytest.approx(
        table["credit"].sum(), abs=1e-9
    )


@pytest.mark.kill
def test_killed_and_interrupted_run_goes_on_where_it_was(
    environment: dict[str, str], installed: Run, config: Path, tmp_path: Path
) -> None:
    """With servers of its own: they, too, end when the job is killed."""
    config.write_text(
        SMALL.replace("contributors: 3", "contributors: 4").replace("finetune_steps: 4", "finetune_steps: 15")
    )
    elsewhere = {"ROYALTY_HOME": str(tmp_path / "other"), "ROYALTY_RUNNER": "dask"}  # the workers of a cluster
    whole = result_of(installed("run", "--config", str(config), "--json", **elsewhere))
    home = Path(environment["ROYALTY_HOME"])
    alone = {**environment, "PREFECT_API_URL": "", "PREFECT_HOME": str(home / "prefect")}
    start_and_signal(["run", "--config", str(config)], alone, signal.SIGKILL, finished=3)
    deadline = time.monotonic() + 200
    while processes_of(home) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(home) == []
    killed = coalition_rows(home)

    more = len(killed) + 2
    interrupted = start_and_signal(["run", "--config", str(config)], environment, signal.SIGINT, finished=more)
    assert interrupted.returncode == 130
    assert "finished work is kept" in interrupted.stderr
    assert "Traceback" not in interrupted.stderr + interrupted.stdout
    before = coalition_rows(home)
    assert {key: before[key] for key in killed} == killed

    arguments = ["run", "--config", str(config), "--json"]
    with ThreadPoolExecutor() as pool:  # two flows share what is left
        both = [result_of(done.result()) for done in [pool.submit(installed, *arguments) for _ in range(2)]]
    after = coalition_rows(home)
    assert sum(resumed["measured"] for resumed in both) == len(after) - len(before)
    assert {key: after[key] for key in before} == before
    for resumed in both:
        assert resumed["measured"] + resumed["reused"] == len(after)
        assert resumed["table"] == whole["table"], "the table is that of one uninterrupted run, to the last digit"
        assert resumed["rows"] == whole["rows"]
    assert both[0]["mlflow_run"] == both[1]["mlflow_run"]


@pytest.mark.slow
def test_folder_of_pngs(royalty: Run, prefect_url: str, tmp_path: Path) -> None:
    """A user's own images: three people's digits, one image brought by two of them, and some nearly."""
    people = ["zoë", "=cmd", "<b>bob</b>"]
    files = save_digits(tmp_path / "images", ["zoë;=cmd", *(people[index % 3] for index in range(1, 60))])
    rows = []
    for index in range(1, 25, 3):  # of =cmd's
        Image.open(files[index]).point(lambda value: value - 3 if value > 3 else value).save(
            tmp_path / "images" / f"near-{index}.png"
        )
        rows.append(f"\nnear-{index}.png,<b>bob</b>,0")
    with (tmp_path / "images" / "metadata.csv").open("a", encoding="utf-8") as table:
        table.writelines(rows)
    (tmp_path / "mine.yaml").write_text(
        FOLDER.replace("{post: true, limits: {stderr: null}}", "{pool: 5000, currency: JPY}")
    )
    result = result_of(royalty("run", "--config", "mine.yaml", "--json"))
    assert sum(int(row["amount"]) for row in result["rows"]) == 5000
    html = (Path(result["folder"]) / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;bob&lt;/b&gt;" in html
    assert "<b>bob" not in html
    assert re.search(r"Nearly identical images, such as recompressed files: &lt;b&gt;bob&lt;/b&gt; and =cmd", html)
    _check_prefect(prefect_url, tmp_path / "home", result)


TASKS = {
    "read images", "try base model", "train classifier", "train base model", "prune and recover", "prepare MLflow",
    "measure base and pruned model", "draw coalitions", "plan coalitions", "measure coalitions", "estimate precision",
    "estimate credit", "record credit", "count images", "divide the pool", "show what a posting changes",
    "match images (GMValuator)", "sample models of nobody and everybody", "log to MLflow", "check split identities",
    "write report",
}  # fmt: skip
"""Names of the tasks of a run that pays nobody, on Prefect's page."""


def _check_prefect(url: str, home: Path, result: dict) -> None:
    """The page of the flow run: its name, those of its tasks, and its artifacts."""
    logged = MlflowClient(f"sqlite:///{home / 'mlflow' / 'mlflow.db'}").get_run(result["mlflow_run"])
    flow_run = UUID(logged.data.tags["prefect.flow_run_id"])
    with SyncPrefectClient(url) as client:
        assert client.read_flow_run(flow_run).name == "credit mine"
        one = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
        deadline = time.monotonic() + 60  # the server learns of tasks by events, after they ended
        while not (names := _task_names(client, one)) >= TASKS and time.monotonic() < deadline:
            time.sleep(0.2)
        assert names == TASKS
        artifacts = client.read_artifacts(flow_run_filter=one, sort=ArtifactSort.ID_DESC)
    by_key = {artifact.key: artifact for artifact in artifacts}
    assert set(by_key) == {"payout-mine", "report-mine", "change-mine"}
    table, report, change = by_key["payout-mine"], by_key["report-mine"], by_key["change-mine"]
    assert "Credit and payouts of `mine`." in str(table.description)
    assert "Proposed, not paid." in str(table.description)
    rows = json.loads(table.data)
    assert [row["amount"] for row in rows] == [f"{row['amount']} JPY" for row in result["rows"]]
    assert r"\<b\>bob\</b\>" in {row["contributor"] for row in rows}, "cells are Markdown"
    assert f"{result['folder']}/report.html" in report.data
    assert "file://" not in report.data, "browsers open no such link"
    assert "It is a proposal: nothing is posted" in str(change.description).replace("\\", "")


def _task_names(client: SyncPrefectClient, flow_run: FlowRunFilter) -> set[str]:
    """Names of tasks by the names of their runs, which end with a mark, or say which coalitions were measured."""
    runs = client.read_task_runs(flow_run_filter=flow_run, limit=200)
    plain = [
        re.sub(r"^measure \d+ coalitions of \d to \d contributors$", "measure coalitions-", run.name) for run in runs
    ]
    return {name.rpartition("-")[0] for name in plain}


def test_refusals_cost_no_training_and_leave_nothing(royalty: Run, config: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    config.write_text(SMALL.replace("payout: {", "payout: {pool: -1, "))
    refused = royalty("run", "--config", str(config))
    assert refused.returncode == 1
    assert "payout.pool" in refused.stderr
    assert not home.exists()
    config.write_text(SMALL)
    unwritable = royalty("run", "--config", str(config), ROYALTY_HOME="/proc/royalty")
    assert unwritable.returncode == 1
    assert "ROYALTY_HOME" in unwritable.stderr
    config.write_text(SMALL.replace("count: 12", "count: 2"))
    few = royalty("run", "--config", str(config))
    assert few.returncode == 1
    assert "3 contributors take at least 4 coalitions, got 2" in few.stderr
    assert coalition_rows(home) == {}
    assert "Traceback" not in few.stderr
    with sqlite3.connect(home / "royalty.db") as database:
        assert [name for (name,) in database.execute("select name from stages")] == ["ingest"]


def test_os_environment_is_untouched() -> None:
    """The suite's own settings never leak a home into the folder it is started from."""
    assert "ROYALTY_HOME" not in os.environ
