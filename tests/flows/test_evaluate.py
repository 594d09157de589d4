"""Judging credit through the installed command line, on models small enough to retrain in a moment."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient

TINY = """
data: {source: digits, contributors: 5, concentration: 1.0}
classifier: {steps: 30}
generator: {steps: 4, batch_size: 16, block_channels: [8, 16]}
sampling: {images: 32, steps: 3}
pruning: {recovery_steps: 2}
coalitions: {finetune_steps: 2, batch_size: 16}
evaluation:
  alphas: [0.4, 0.6]
  subsets: 4
  seeds: 2
  shapley: {sparsified: 14, retrain: 10}
  gradients: {images: 2, timesteps: 2, projection: 32}
"""


def test_lds_then_counterfactual_on_kept_models(
    royalty: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = royalty("evaluate", "lds", "--config", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stderr
    (judged,) = json.loads(done.stdout)
    assert judged["retrained"] == judged["planned"] == 2 * 2 * 4
    methods = {row["method"] for row in judged["rows"]}
    assert {"Shapley, sparsified", "leave-one-out, retrain", "D-TRAK (sum)", "pixel similarity (maximum)"} <= methods
    assert all(-1 <= row["low"] <= row["high"] <= 1 and row["seeds"] == 2 for row in judged["rows"])
    folder = Path(judged["folder"])
    assert (folder / "lds.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(csv.DictReader((folder / "lds.csv").open()))) == len(judged["rows"])
    client = MlflowClient(f"sqlite:///{tmp_path / 'home' / 'mlflow' / 'mlflow.db'}")
    files = {entry.path for entry in client.list_artifacts(judged["mlflow_run"])}
    assert files == {"lds.csv", "lds.json", "lds.png"}

    with sqlite3.connect(tmp_path / "home" / "royalty.db") as database:
        before = database.execute("select count(*) from coalition_models").fetchone()[0]
    done = royalty("evaluate", "counterfactual", "--config", "tiny.yaml")
    assert done.returncode == 0, done.stderr
    assert "without top 40%" in done.stdout
    assert "Table" in done.stdout
    with sqlite3.connect(tmp_path / "home" / "royalty.db") as database:
        rows = database.execute("select method, seed from coalition_models").fetchall()
    assert len(rows) > before
    assert {method for method, _ in rows[before:]} == {"retrain"}, "credit is reused; only held-out models are new"
