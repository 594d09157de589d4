"""Works that were found and withdrawn: gone from indexes and from pay for later use; what was used before is paid."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from royalty.infra.attribution.api import AttributionRequest, recorded
from royalty.infra.attribution.shards import ShardStore
from royalty.infra.attribution.usage_log import UsageLog
from royalty.infra.settings import settings
from royalty.infra.stores.weights import WeightsStore
from royalty.infra.workspace import open_workspace
from royalty.models.data.items import item_id
from royalty.models.data.stored import open_set
from royalty.tasks.attribution.attributing import SHOWN, Attributor, index_folder, served_folders
from royalty.tasks.credit.stages import TRAIN
from tests.conftest import FOLDER, Run, save_digits
from tests.flows.test_credit import result_of

pytestmark = pytest.mark.cli

TERMS = ["--usage", "log", "--model", "digits", "--pool", "100.00", "--policy", "terms.yaml"]


def generated(home: Path, file: Path, month: int) -> dict[str, float]:
    """Log that an image like a file was generated in a month; returns the shares of its contributors."""
    asked = AttributionRequest(
        id=f"{file.name} {month}",
        model="digits",
        time=f"2026-{month:02}-03T12:00:00Z",  # type: ignore[arg-type]  # pydantic reads it
        image=base64.b64encode(file.read_bytes()).decode(),
    )
    attributor = Attributor(served_folders(home), WeightsStore(home / "weights"))
    logged, _ = recorded(UsageLog(home / "attribution" / "log.db"), "studio", asked, attributor)
    return dict(logged.shares)


def paid(royalty: Run, period: str) -> dict[str, float]:
    rows: list[dict[str, Any]] = result_of(royalty("payout", *TERMS, "--period", period, "--json"))["rows"]
    return {row["contributor"]: float(row["amount"]) for row in rows}


@pytest.mark.slow
def test_a_work_is_found_and_withdrawn(royalty: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    files = save_digits(tmp_path / "train", ["Ada", "Bob", "Ada;Cyd"] * 10)
    (tmp_path / "terms.yaml").write_text("{use: {training: 0, unattributable: reserve}, limits: {stderr: null}}")
    (tmp_path / "index.yaml").write_text("{model: digits, train: train, encoder: pixels, size: 8, k: 3}")
    result_of(royalty("index", "build", "--config", "index.yaml", "--json"))
    assert "Cyd" in generated(home, files[2], 5)
    (work,) = result_of(royalty("find", str(files[2]), "--json"))
    assert (work["contained"], work["nearest"][0]["file_name"], len(work["outputs"])) == (True, "2.png", 1)

    document = json.loads(royalty("optout", "add", "--contributor", "Cyd", "--reason", "sold", "--json").stdout)
    receipt = home / "optouts" / f"{document['act']['reference']}.json"
    assert "matches the records" in royalty("optout", "check", str(receipt)).stdout
    (listed,) = result_of(royalty("index", "list", "--json"))
    assert (listed["items"], listed["removed"], listed["contributors"]) == (20, 10, 2)
    (work,) = result_of(royalty("find", str(files[2]), "--json"))
    assert not work["contained"]
    assert "Cyd" not in generated(home, files[2], 6)
    assert "Ada" in generated(home, files[3], 6)

    earlier = paid(royalty, "2026-05")
    assert earlier["Cyd"] > 0, "what was generated before is paid"
    assert "Cyd" not in paid(royalty, "2026-06")
    assert paid(royalty, "2026-05") == earlier
    balances = {row["contributor"]: row["earned"] for row in json.loads(royalty("balance", "--json").stdout)}
    assert balances["Cyd"] == round(100 * earlier["Cyd"])

    added = result_of(royalty("index", "add", "--model", "digits", "--train", "train", "--json"))
    assert (added["items"], added["notes"]) == (20, ["Images that were withdrawn are left out: Ada (10), Cyd (10)."])
    rebuilt = result_of(royalty("index", "build", "--config", "index.yaml", "--json"))
    assert (rebuilt["items"], rebuilt["removed"], rebuilt["contributors"]) == (20, 0, 2)
    assert rebuilt["notes"] == added["notes"]


@pytest.mark.slow
def test_a_co_owner_is_paid_for_the_earlier_use_of_works_that_another_withdrew(royalty: Run, tmp_path: Path) -> None:
    files = save_digits(tmp_path / "train", ["Ada;Cyd", "Ada:2;Eve:1", *["Ada", "Bob", "Dan"] * 9])
    (tmp_path / "terms.yaml").write_text("{use: {training: 0, unattributable: reserve}, limits: {stderr: null}}")
    (tmp_path / "index.yaml").write_text(
        "{model: digits, train: train, encoder: pixels, size: 8, k: 29, temperature: 0.05}"
    )
    result_of(royalty("index", "build", "--config", "index.yaml", "--json"))
    shares = generated(tmp_path / "home", files[28], 5)
    assert 0 < shares["Cyd"] < SHOWN, "an answer does not list the work"
    assert 0 < shares["Ada:2;Eve:1"] < SHOWN
    assert "Dan" in generated(tmp_path / "home", files[4], 6)
    works = ["--work", "0.png", "--work", "sub/1.png"]
    assert royalty("optout", "add", "--contributor", "Ada", *works, "--reason", "sold").returncode == 0
    (listed,) = result_of(royalty("index", "list", "--json"))
    assert (listed["items"], listed["removed"], listed["contributors"]) == (27, 2, 3)
    assert {"Cyd", "Ada:2;Eve:1"} <= {*paid(royalty, "2026-05")}
    result_of(royalty("index", "remove", "--model", "digits", "--contributor", "Dan", "--json"))
    assert "the log names 'Dan', who" in royalty("payout", *TERMS, "--period", "2026-06").stderr


@pytest.mark.slow
def test_an_index_that_cannot_be_changed_now_is_named(royalty: Run, tmp_path: Path) -> None:
    save_digits(tmp_path / "train", ["Ada", "Bob", "Cyd"] * 10)
    (tmp_path / "index.yaml").write_text("{model: digits, train: train, encoder: pixels, size: 8}")
    result_of(royalty("index", "build", "--config", "index.yaml", "--json"))
    unknown = royalty("optout", "add", "--contributor", "Zed", "--reason", "sold")
    assert "and no image in an index; there are Ada, Bob, Cyd" in unknown.stderr
    with ShardStore(index_folder(tmp_path / "home", "digits", "1")).writing():
        refused = royalty("optout", "add", "--contributor", "Ada", "--work", "0.png", "--reason", "sold")
    assert refused.returncode == 1
    assert "the opt-out is recorded" in refused.stderr
    assert "royalty index remove --model MODEL --withdrawn" in refused.stderr
    assert "0.png" in royalty("optout", "list").stdout
    for both in (["--withdrawn", "--contributor", "Ada"], []):
        assert "or by `--withdrawn`; give these" in royalty("index", "remove", "--model", "digits", *both).stderr
    removed = result_of(royalty("index", "remove", "--model", "digits", "--withdrawn", "--json"))
    assert (removed["items"], removed["removed"]) == (29, 1)
    again = result_of(royalty("index", "remove", "--model", "digits", "--withdrawn", "--json"))
    assert again == removed


def item_id_of(file: Path) -> str:
    return item_id(np.asarray(Image.open(file)))


def statements(home: Path) -> list[tuple[Any, ...]]:
    """Lines of all statements, in the order in which they were posted."""
    with sqlite3.connect(home / "royalty.db") as database:
        return database.execute("select statement, contributor, kind, amount_minor from entries order by id").fetchall()


def paid_by_credit(royalty: Run, period: str) -> list[str]:
    rows: list[dict[str, Any]] = result_of(royalty("payout", "--credit", "mine", "--period", period, "--json"))["rows"]
    return [row["contributor"] for row in rows]


def trained_on(train: str) -> set[str]:
    """IDs of the images of a set."""
    return set(open_set(open_workspace(settings()).artifacts.verified(train)).ids)


@pytest.mark.slow
def test_the_next_base_model_is_trained_without_what_was_withdrawn(royalty: Run, tmp_path: Path) -> None:
    files = save_digits(tmp_path / "images", ["ann", "bob", "cy", "dee"] * 20)
    (tmp_path / "mine.yaml").write_text(FOLDER.replace("post: true, ", "").replace("steps: 100", "steps: 20"))
    (tmp_path / "index.yaml").write_text("{model: digits, train: images, encoder: pixels, size: 8, k: 3}")
    result_of(royalty("run", "--config", "mine.yaml", "--json"))
    assert set(paid_by_credit(royalty, "2026-05")) == {"ann", "bob", "cy", "dee"}
    posted = statements(tmp_path / "home")
    result_of(royalty("index", "build", "--config", "index.yaml", "--json"))
    with patch.dict(os.environ, {"ROYALTY_HOME": str(tmp_path / "home")}):
        runs = open_workspace(settings()).runs
        (first,) = [TRAIN.finished(record) for record in runs.stages(TRAIN.name)]
        before = trained_on(first.inputs.train)
        work = next(file for file in files[1::4] if item_id_of(file) in before)
        (found,) = result_of(royalty("find", str(work), "--json"))
        assert (found["contained"], found["nearest"][0]["id"]) == (True, item_id_of(work))

        name = str(work.relative_to(tmp_path / "images"))
        for named in (["--contributor", "bob", "--work", name], ["--contributor", "dee"]):
            assert royalty("optout", "add", *named, "--reason", "sold").returncode == 0
        gone = {item_id_of(work), *(item_id_of(file) for file in files[3::4])}
        done = royalty("revalue", "--config", "mine.yaml", "--retrain-base", "--json")
        assert done.returncode == 10, done.stderr
        *_, second = [TRAIN.finished(record) for record in runs.stages(TRAIN.name)]
        assert second.key != first.key
        after = trained_on(second.inputs.train)
        assert before & gone
        assert not after & gone
    assert set(paid_by_credit(royalty, "2026-06")) == {"ann", "bob", "cy"}
    assert statements(tmp_path / "home")[: len(posted)] == posted, "past statements stand"
    rebuilt = result_of(royalty("index", "build", "--config", "index.yaml", "--json"))
    assert (rebuilt["items"], rebuilt["contributors"]) == (59, 3)
    (found,) = result_of(royalty("find", str(work), "--json"))
    assert not found["contained"]
