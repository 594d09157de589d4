"""Runs that credit a property other than the default: FID by the embedded encoder, and a function of the user's own."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import SMALL, Run

STDERR = 1.0
"""Of the darkness of the second run's models."""

OWN = """
def darkness(images):
    return 255 - images.mean()
"""


@pytest.mark.slow
def test_fid_and_a_function_of_ones_own(royalty: Run, tmp_path: Path) -> None:
    """The second run finds the models of the first; a function that is not there is refused before any training."""
    (tmp_path / "own.py").write_text(OWN)
    path = {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))}
    for name, written in (("fid", "fid"), ("dark", "own:darkness"), ("none", "own:light"), ("clip", "kid@clip")):
        (tmp_path / f"{name}.yaml").write_text(f"{SMALL}property: {written}\n")
    (tmp_path / "dino.yaml").write_text(
        SMALL.replace("encoder: pixels, rerank: none, images: 16", "encoder: dinov2, images: 8")
    )
    asked = SMALL.replace("images: 64", f"images: 64, stderr: {STDERR}")
    (tmp_path / "dark.yaml").write_text(f"{asked}property: own:darkness\n")

    refusals = ("none", "own has no light; it has darkness"), ("clip", "fetch clip"), ("dino", "fetch dinov2")
    for name, message in refusals:
        refused = royalty("run", "--config", f"{name}.yaml", **path)
        assert refused.returncode == 1
        assert message in refused.stderr
    with closing(sqlite3.connect(tmp_path / "home" / "royalty.db")) as database:
        assert {name for (name,) in database.execute("select name from stages")} == {"ingest"}

    fid = royalty("run", "--config", "fid.yaml", "--json", **path)
    assert fid.returncode == 0, fid.stderr
    own = royalty("run", "--config", "dark.yaml", "--json", **path)
    assert own.returncode == 0, own.stderr
    for completed, title in ((fid, "FID, negated"), (own, "own:darkness")):
        result = json.loads(completed.stdout)
        assert title in (Path(result["folder"]) / "report.html").read_text()
        assert any(row["credit"] for row in result["rows"])
    assert {timing["part"]: timing["reused"] for timing in result["timings"]}["train"]  # by the second run

    with closing(sqlite3.connect(tmp_path / "home" / "royalty.db")) as database:
        rows = database.execute("select inputs, outputs from stages where name = 'measure' order by created_at")
        _, (inputs, outputs) = [tuple(map(json.loads, row)) for row in rows]
    count = inputs["sampling"]["images"]
    assert count > 64
    assert f"measured on {count} generated images" in (Path(result["folder"]) / "report.html").read_text()
    assert outputs["utility_stderr"]["pruned"] == pytest.approx(STDERR, rel=0.35)
