"""Every command as it is installed, in a process of its own: elsewhere, commands are called in the process of a test.

`royalty run` is in `test_credit`, `royalty ui` in `test_current_folder`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from royalty.flows.preset_files import preset_names
from tests.conftest import Credited, Run
from tests.flows.test_credit import result_of

pytestmark = pytest.mark.cli


def test_payout_and_ledger(credited: Credited, installed: Run, tmp_path: Path) -> None:
    credited.copy_to(tmp_path)
    terms = ["--pool", "77.00", "--currency", "EUR", "--period", "2026-05"]
    paid = result_of(installed("payout", "--credit", "small", *terms, "--json"))
    assert sum(round(100 * float(row["amount"])) for row in paid["rows"]) == 7700
    listed = result_of(installed("ledger", "--json"))
    assert [posted["pool"] for posted in listed["statements"]] == ["small", "small"]
    assert listed["statements"][-1]["id"] == paid["statement"]
    assert listed["verified"]["statements"] == 2


def test_trace(credited: Credited, installed: Run, tmp_path: Path) -> None:
    home = credited.copy_to(tmp_path)
    found = result_of(installed("trace", "small", "--html", "small.html", "--json"))
    assert found["matches"] is True
    assert "Payout statement" in (tmp_path / "small.html").read_text(encoding="utf-8")
    (model,) = [step["id"] for step in found["steps"] if step["title"] == "Base model"]
    (file,) = [path for path in (home / "artifacts").rglob(f"*{model[4:]}*") if path.is_file()]
    file.chmod(0o600)
    file.write_bytes(b"another")
    done = installed("trace", "small")
    assert (done.returncode, done.stderr) == (1, "")
    assert "1 MISMATCH " in done.stdout


@pytest.mark.slow
def test_revalue(credited: Credited, installed: Run, tmp_path: Path) -> None:
    credited.copy_to(tmp_path)
    done = installed("revalue", "--config", "small.yaml", "--summary", "summary.md")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing changed since the last credited run (20" in done.stdout
    assert "Nothing changed since" in (tmp_path / "summary.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_doctor(credited: Credited, installed: Run, tmp_path: Path) -> None:
    credited.copy_to(tmp_path)
    done = installed("doctor", "--json")
    found = json.loads(done.stdout)
    passes = {finding["line"]: finding["passes"] for finding in found["findings"]}
    assert done.returncode == (0 if all(passes.values()) else 1), "the machine of a test may have other versions"
    assert passes["Prefect"], found
    assert passes["MLflow"], found
    assert passes["ledger"], found


@pytest.mark.slow
def test_presets_and_weights(installed: Run) -> None:
    assert sorted(row["name"] for row in result_of(installed("presets", "--json"))) == preset_names()
    assert {row["name"] for row in result_of(installed("weights", "list", "--json"))} >= {"clip", "dinov2"}


@pytest.mark.slow
def test_value(installed: Run, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    np.savez(tmp_path / "items.npz", features=rows, labels=np.arange(30) % 2)
    done = installed("value", "lava", "--train", "items.npz", "--val", "items.npz", "--out", "values.parquet", "--json")
    assert (result_of(done)["items"], done.stderr) == (30, "")
    assert len(pd.read_parquet(tmp_path / "values.parquet")) == 30


@pytest.mark.slow
def test_evaluate(installed: Run, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(
        "items: 60\nval_items: 60\ncorruptions: [noise]\nmethods: [random]\nremoved: [0.25]\ndraws: 1\n"
        "encoding: {encoder: pixels, size: 8}\n"
    )
    done = installed("evaluate", "detection", "--config", "d.yaml", "--json")
    assert [row["method"] for row in json.loads(done.stdout)["rows"]] == ["random"], done.stderr
    assert done.stderr == ""
