"""Comparing two sets from the command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Run, save_digits
from tests.flows.test_value import save_arrays
from tests.watching import Watch


def test_contributors_of_images_have_parts_that_sum_to_the_distance(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    save_digits(tmp_path / "images", ["ann", "bob"] * 20)
    save_digits(tmp_path / "others", ["eve"] * 20)
    (tmp_path / "d.yaml").write_text("encoding: {encoder: pixels, size: 8}\n")
    done = royalty("distance", "images", "others", "--config", "d.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert 0 < result["distance"] < result["typical"]
    rows = result["contributors"]
    assert {row["contributor"] for row in rows} == {"ann", "bob"}
    assert sum(row["part"] for row in rows) == pytest.approx(result["distance"])
    parts = pd.read_parquet(Path(result["folder"]) / "parts.parquet")
    assert parts["part"].sum() == pytest.approx(result["distance"])
    assert len(pd.read_csv(Path(result["folder"]) / "contributors.csv")) == 2
    assert watch.stages >= {"embed", "measure-distance", "write-distance"}


def test_arrays_without_contributors_and_what_is_refused(royalty: Run, tmp_path: Path) -> None:
    train, val = save_arrays(tmp_path)
    done = royalty("distance", train, val)
    assert done.returncode == 0, done.stderr
    assert "of the mean distance of two items" in " ".join(done.stdout.split())
    arrays = dict(np.load(tmp_path / val))
    np.savez(tmp_path / "unlabelled.npz", features=arrays["features"])
    plain = royalty("distance", train, "unlabelled.npz")
    assert "not compared, because a set has none" in plain.stdout
    refused = royalty("distance", train)
    assert (refused.returncode, "`second`: field required" in refused.stderr) == (1, True), refused.stderr
