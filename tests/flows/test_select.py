"""Selecting images within a budget from the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from tests.conftest import Run, save_digits
from tests.flows.test_value import save_arrays
from tests.watching import Watch


def test_copies_of_images_are_not_selected_twice(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    files = save_digits(tmp_path / "images", ["ann"] * 12)
    save_digits(tmp_path / "clean", ["eve"] * 12)
    rows = (tmp_path / "images" / "metadata.csv").read_text().splitlines()
    for index, row in enumerate(rows[1:7]):
        name, _, label = row.split(",")
        shutil.copy(tmp_path / "images" / name, tmp_path / "images" / f"copy{index}.png")
        rows.append(f"copy{index}.png,bob,{label}")
    (tmp_path / "images" / "metadata.csv").write_text("\n".join(rows))
    assert len(files) == 12
    (tmp_path / "s.yaml").write_text("encoding: {encoder: pixels, size: 8, representation: features}\n")
    options = ("--train", "images", "--val", "clean", "--config", "s.yaml")
    done = royalty("select", *options, "--budget", "8", "--out", "chosen.csv", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["selected"], result["diagnostics"]["copies"]) == (8, 0)
    chosen = pd.read_csv(tmp_path / "chosen.csv")
    assert chosen["id"].nunique() == 8
    assert list(chosen["rank"]) == list(range(1, 9))
    np.testing.assert_allclose(chosen["weight"].sum(), 1)
    assert sum(result["labels"].values()) == 8
    assert watch.stages >= {"embed", "select-items", "write-selected"}
    refused = royalty("select", *options, "--budget", "19")
    assert refused.returncode == 1
    assert "from 1 to all" in " ".join(refused.stderr.split())


def test_arrays_and_other_methods(royalty: Run, tmp_path: Path) -> None:
    train, val = save_arrays(tmp_path)
    for method in ("transport", "value", "random"):
        done = royalty("select", "--train", train, "--val", val, "--budget", "5", "--method", method)
        assert done.returncode == 0, done.stderr
        assert f"items selected by {method}" in " ".join(done.stdout.split())
    refused = royalty("select", "--train", train, "--val", val)
    assert (refused.returncode, "`budget` is missing; pass `--budget`" in refused.stderr) == (1, True), refused.stderr
