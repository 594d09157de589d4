"""Detecting faulty items from the command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Run, save_digits
from tests.flows.test_value import save_arrays
from tests.watching import Watch


def test_wrong_labels_of_arrays_are_flagged(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    train, val = save_arrays(tmp_path)
    done = royalty("detect", "--train", train, "--val", val, "--fdr", "0.3", "--out", "d.parquet", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    table = pd.read_parquet(tmp_path / "d.parquet")
    assert set(table["score"].to_numpy().argsort()[:8]) <= set(range(10))
    assert table["flagged"].sum() == result["flagged"] > 0
    assert {"id", "label", "p_label", "p_features", "p_within_class", "reason", "nearest"} <= set(table)
    right = (table["label"][:10] - 1) % 3
    assert (table["suggested_label"][:10] == right).mean() > 0.8
    folder = Path(result["folder"])
    review = pd.read_csv(folder / "review.csv")
    assert len(review) == result["flagged"]
    assert review["score"].is_monotonic_increasing
    assert review["new_label"].isna().all()
    assert "flagged" in (folder / "detected.html").read_text("utf-8")
    assert watch.stages >= {"detect-items", "write-detected"}

    arrays = dict(np.load(tmp_path / val))
    np.savez(tmp_path / "two.npz", **{name: array[arrays["labels"] < 2] for name, array in arrays.items()})
    refused = royalty("detect", "--train", train, "--val", "two.npz")
    assert (refused.returncode, "none has label 2" in refused.stderr) == (1, True), refused.stderr
    worst = royalty(
        "detect",
        "--train",
        train,
        "--val",
        "two.npz",
        "--unseen-label",
        "worst",
        "--fdr",
        "0.3",
        "--out",
        "w.csv",
        "--json",
    )
    assert worst.returncode == 0, worst.stderr
    assert any("have a label that validation lacks" in note for note in json.loads(worst.stdout)["notes"])
    table = pd.read_csv(tmp_path / "w.csv")
    unseen = table["label"] == 2
    assert (table["score"][unseen] == table["score"].min()).all()
    assert set(table["reason"][unseen]) == {"unseen_label"}
    assert not table["flagged"][unseen].any()
    assert table["nearest_rows"][unseen].isna().all()
    review = pd.read_csv(Path(json.loads(worst.stdout)["folder"]) / "review.csv", dtype=str)
    assert set(review["suggested_label"]) <= {"0", "1"}
    assert len(review) > 0


def test_images_are_shown_beside_clean_ones(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    save_digits(tmp_path / "images", ["ann", "bob"] * 20)
    (tmp_path / "d.yaml").write_text("train: images\nval: images\nencoding: {encoder: pixels, size: 8}\n")
    done = royalty("detect", "--config", "d.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["flagged"] == 0, "a set compared with itself"
    page = (Path(result["folder"]) / "detected.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") >= 12
    assert "The nearest clean images" in page
    assert watch.stages >= {"embed", "detect-items"}


@pytest.mark.slow
def test_items_are_compared_with_each_other_without_validation(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    save_digits(tmp_path / "images", ["ann", "bob"] * 50)
    (tmp_path / "d.yaml").write_text("train: images\ntrim: 0.1\nencoding: {encoder: pixels, size: 8}\n")
    done = royalty("detect", "--config", "d.yaml", "--json", "--out", "d.parquet")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert not result["calibrated"]
    assert result["flagged"] == pd.read_parquet(tmp_path / "d.parquet")["flagged"].sum()
    assert "not calibrated" in " ".join(result["notes"])
    page = " ".join((Path(result["folder"]) / "detected.html").read_text("utf-8").split())
    assert "not calibrated" in page
    assert page.count("data:image/png;base64,") >= 12
    table = pd.read_parquet(tmp_path / "d.parquet")
    assert all(row not in near for row, near in enumerate(table["nearest_rows"]))
    assert watch.stages >= {"embed", "detect-items"}


def test_what_cannot_be_detected_is_refused_before_any_work(royalty: Run, tmp_path: Path) -> None:
    train, val = save_arrays(tmp_path)
    for arguments, message in (
        ((), "`train` is missing; pass `--train`"),
        (("--train", train, "--trim", "0.5"), "`trim`: input should be less than 0.5"),
        (("--train", train, "--val", val, "--trim", "0.1"), "`trim` is for detection without validation"),
        (("--train", train, "--unseen-label", "worst"), "`unseen_label` is for labels that validation lacks"),
        (("--train", train, "--val", val, "--fdr", "1.5"), "`fdr`: input should be less than 1"),
    ):
        done = royalty("detect", *arguments)
        assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "home").exists()
