"""Valuing items and judging values, from the command line."""

import json
import sqlite3
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from royalty.models.valuation.batches import Batching
from tests.conftest import Run, save_digits
from tests.watching import Watch


def save_arrays(folder: Path) -> tuple[str, str]:
    """Blobs, the first ten of whose training labels are wrong."""
    generator = np.random.default_rng(0)
    centres = 3 * generator.normal(size=(3, 6))
    for name, items in (("train", 120), ("val", 60)):
        labels = np.arange(items) % 3
        features = (centres[labels] + generator.normal(size=(items, 6))).astype(np.float32)
        if name == "train":
            labels[:10] = (labels[:10] + 1) % 3
        np.savez(folder / f"{name}.npz", features=features, labels=labels)
    return "train.npz", "val.npz"


@pytest.mark.slow
def test_values_of_arrays(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    train, val = save_arrays(tmp_path)
    found = {}
    for method in ("lava", "sava"):
        done = royalty("value", method, "--train", train, "--val", val, "--out", f"{method}.parquet", "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["items"] == 120
        assert result["diagnostics"]["marginal_error"] <= 1e-3
        table = pd.read_parquet(tmp_path / f"{method}.parquet")
        columns = ["id", "label", "value"] + (["batch"] if method == "sava" else [])
        assert list(table) == [*columns, "value_within_class"]
        assert table.groupby("label")["value_within_class"].median().abs().max() < 1e-12
        assert set(table["value"].to_numpy().argsort()[:10]) == set(range(10))
        folder = Path(result["folder"])
        assert pd.read_parquet(folder / "values.parquet").equals(table)
        assert (folder / "validation.parquet").is_file() == (method == "lava")
        assert (folder / "batches.csv").is_file() == (method == "sava")
        assert (folder / "values.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / "label-distances.png").read_bytes().startswith(b"\x89PNG")
        found[method] = table["value"]
    np.testing.assert_allclose(found["sava"], found["lava"], rtol=1e-4, atol=1e-4)  # one batch a side

    np.savez(tmp_path / "two.npz", **{key: part[part_of("val", tmp_path) < 2] for key, part in load(val, tmp_path)})
    (tmp_path / "p.yaml").write_text(f"train: {train}\nval: {val}\nvaluing: {{perturbed: 3}}\n")
    perturbed = royalty("value", "lava", "--config", "p.yaml", "--name", "perturbed", "--json")
    assert perturbed.returncode == 0, perturbed.stderr
    result = json.loads(perturbed.stdout)
    changes = pd.read_csv(Path(result["folder"]) / "perturbations.csv")
    assert list(changes)[-6:] == ["value", "fraction", "predicted", "actual", "error", "radius"]
    assert len(changes) == 3 * 10
    assert np.unique(changes["value"]).tolist() == pytest.approx(
        np.sort(found["lava"])[[0, 60, 119]].tolist(), abs=1e-3
    )
    assert (changes["predicted"] <= changes["actual"]).all()
    assert result["diagnostics"]["perturbation_radius"] == changes["radius"].median()
    assert (Path(result["folder"]) / "perturbations.png").read_bytes().startswith(b"\x89PNG")
    without = royalty("value", "sava", "--config", "p.yaml")
    assert "sava has no such values" in without.stderr

    refused = royalty("value", "knn-shapley", "--train", train, "--val", "two.npz", "--out", "none.parquet")
    assert refused.returncode == 1
    assert "none has label 2" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "none.parquet").exists()
    lowest = royalty(
        "value", "knn-shapley", "--train", train, "--val", "two.npz", "--out", "k.parquet", "--unseen-label", "worst"
    )
    assert lowest.returncode == 0, lowest.stderr
    table = pd.read_parquet(tmp_path / "k.parquet")
    assert (table["value"][table["label"] == 2] == table["value"].min()).all()
    assert watch.stages >= {"value", "solve-share", "value-share"}

    spread = royalty("value", "lava", "--train", train, "--val", val, "--out", "lava.csv")
    assert spread.returncode == 0, spread.stderr
    found_again = pd.read_csv(tmp_path / "lava.csv")["value"]
    np.testing.assert_allclose(found_again, found["lava"])


def load(name: str, folder: Path) -> list[tuple[str, np.ndarray]]:
    with np.load(folder / name) as arrays:
        return [(key, arrays[key]) for key in ("features", "labels")]


def part_of(name: str, folder: Path) -> np.ndarray:
    return dict(load(f"{name}.npz", folder))["labels"]


@pytest.mark.slow
def test_only_new_batches_are_transported(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    train, val = save_arrays(tmp_path)
    (tmp_path / "v.yaml").write_text(f"train: {train}\nval: {val}\nvaluing: {{batch_size: 5}}\n")
    sava = ("value", "sava", "--config", "v.yaml", "--json")
    early = royalty(*sava, "--incremental")
    assert early.returncode == 1
    assert "there is none by SAVA named" in early.stderr
    first = json.loads(royalty(*sava).stdout)["diagnostics"]
    assert (first["batches"], first["batches_kept"]) == (24, 0)
    features, labels = (array for _, array in load(train, tmp_path))
    # Two shares: items of the first 16 batches stay; one item of a later one goes, and eleven come.
    gone = int(np.flatnonzero(~np.isin(np.arange(120), first_share(features, labels)))[0])
    more = np.concatenate([np.delete(features, gone, axis=0)[::-1], features[:11] + 0.1])
    np.savez(tmp_path / train, features=more, labels=np.concatenate([np.delete(labels, gone)[::-1], labels[:11]]))
    done = royalty(*sava, "--incremental")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["items"], result["diagnostics"]["batches_kept"]) == (130, 16)
    assert result["diagnostics"]["scale"] == first["scale"]
    assert result["diagnostics"]["iterations"] > 0
    with sqlite3.connect(tmp_path / "home" / "royalty.db") as database:
        counted = dict(database.execute("select name, count(*) from stages group by name").fetchall())
    assert counted["solve-share"] == 3  # two at first, and then one for what is new
    other = royalty(*sava, "--incremental", "--val", train)
    assert other.returncode == 1
    assert "`val`" in other.stderr
    whole = royalty("value", "lava", "--config", "v.yaml", "--incremental")
    assert "lava has no batches" in whole.stderr

    # The paper's form is another setting, so that it does not extend this plan. Its values sum to zero in every batch.
    settings = (tmp_path / "v.yaml").read_text().replace("batch_size: 5", "batch_size: 5, form: paper")
    (tmp_path / "v.yaml").write_text(settings)
    refused = royalty(*sava, "--incremental")
    assert "valuing changed too" in refused.stderr
    published = royalty(*sava, "--name", "paper", "--out", "paper.parquet")
    assert published.returncode == 0, published.stderr
    of_items = pd.read_parquet(tmp_path / "paper.parquet")
    of_batches = pd.read_csv(Path(json.loads(published.stdout)["folder"]) / "batches.csv")
    assert of_items.groupby("batch")["value"].sum().abs().max() < 1e-9
    assert list(of_batches) == ["batch", "items", "value"]
    assert of_batches["items"].tolist() == of_items["batch"].value_counts(sort=False).sort_index().tolist()
    assert of_batches["value"].sum() == pytest.approx(0, abs=1e-9)


def first_share(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.concatenate(Batching(5, True, 0).rows(len(features), labels)[:16])


@pytest.mark.slow
def test_images_are_embedded_once(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    save_digits(tmp_path / "images", ["ann", "bob"] * 10)
    (tmp_path / "v.yaml").write_text("train: images\nval: images\nencoding: {encoder: pixels, size: 8}\n")
    for method, batches in (("lava", None), ("sava", 1)):
        done = royalty("value", method, "--config", "v.yaml", "--name", method, "--out", "out.parquet", "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["diagnostics"].get("batches") == batches
        assert (Path(result["folder"]) / "items.png").read_bytes().startswith(b"\x89PNG")
        of_batch = ["batch"] if batches else []
        columns = ["id", "file_name", "source", "label", "contributor", "value", *of_batch, "value_within_class"]
        table = pd.read_parquet(tmp_path / "out.parquet")
        assert list(table) == columns
        totals = pd.read_csv(Path(result["folder"]) / "contributors.csv")
        assert list(totals) == list(result["contributors"][0]) == ["contributor", "items", "value", "mean"]
        sums = table.groupby("contributor")["value"].sum().sort_values(ascending=False)
        assert totals["contributor"].tolist() == sums.index.tolist()
        np.testing.assert_allclose(totals["value"], sums)
        assert totals["items"].tolist() == [10, 10]
    (tmp_path / "p.yaml").write_text(
        "train: images\nval: images\nencoding: {encoder: preact-resnet18, size: 8, width: 4, steps: 3}\n"
    )
    done = royalty("value", "knn-shapley", "--config", "p.yaml")
    assert done.returncode == 0, done.stderr
    shards = list((tmp_path / "home" / "embeddings").rglob("*.rows"))
    assert len(shards) == 2  # one an encoder
    assert watch.stages >= {"train-encoder", "embed"}


@pytest.mark.slow
def test_planted_corruptions_are_found(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(
        "items: 200\nval_items: 160\ncorruptions: [flipped-labels, noise]\nmethods: [detector, lava, class-shares]\n"
        "fdr: [0.4, 0.1]\n"
        "removed: [0.25]\nnetwork_steps: 2\ndraws: 2\nvalidation: {sizes: [60], flipped: [0.0, 0.1]}\n"
        "encoding: {encoder: pixels, size: 8}\nplanting: {flipped: 0.1, noise: 0.1}\n"
        "distance: {amounts: [0, 0.5, 0.8]}\n"
        "ablation: {epsilon: [0.1, 3.0], label_weight: [0]}\n"
    )
    done = royalty("evaluate", "detection", "--config", "d.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    auroc = {(row["corruption"], row["method"]): row["auroc"] for row in result["summary"]}
    assert (len(auroc), len(result["rows"]), result["failed"]) == (6, 12, [])
    assert auroc["flipped-labels", "lava"] > 0.65
    assert auroc["flipped-labels", "detector"] > 0.65
    assert {row["auroc"] for row in result["rows"] if row["method"] == "class-shares"} == {0.5}
    (lead,) = (r for r in result["comparison"] if (r["other"], r["corruption"]) == ("class-shares", "all"))
    mean = (auroc["flipped-labels", "detector"] + auroc["noise", "detector"]) / 2
    assert (lead["draws"], round(lead["difference"], 9)) == (2, round(mean - 0.5, 9))
    assert {row["removed"] for row in result["accuracy"]} == {0.0, 0.25}
    assert len(result["removal"]) == 2 * 2 * 3 * 2  # classifiers, corruptions, methods, fractions removed
    assert {(row["measure"], row["draws"]) for row in result["removal"]} == {("accuracy", 2)}
    places = ("flipped-labels", "noise", "all")
    means = {(row["measure"], row["corruption"], row["fdr"]): row["mean"] for row in result["discoveries"]}
    assert list(means) == list(product(("flagged", "fdp", "power"), places, (0.1, 0.4)))
    assert {row["draws"] for row in result["discoveries"]} == {2}
    assert means["fdp", "all", 0.1] == (means["fdp", "flipped-labels", 0.1] + means["fdp", "noise", 0.1]) / 2
    folder = Path(result["folder"])
    flagged = pd.read_csv(folder / "flagged.csv")
    assert list(flagged) == ["corruption", "method", "draw", "fdr", "flagged", "fdp", "power"]
    assert len(flagged) == 2 * 2 * 2
    assert {file.name for file in folder.iterdir()} >= {
        "discoveries.csv",
        "discoveries.png",
        "summary.csv",
        "comparison.csv",
        "detection.csv",
        "accuracy.csv",
        "removal.csv",
        "noise.png",
        "validation-noise.png",
        "validation-all.png",
        "distance.csv",
        "correlation.csv",
        "distance.png",
        "ablation.csv",
        "ablation-epsilon.png",
        "ablation-label_weight.png",
    }
    assert len(result["distance"]) == 2 * 2 * 3 * 2  # corruptions, draws, amounts and classifiers
    linear = {row["corruption"]: row["correlation"] for row in result["correlation"] if row["classifier"] == "linear"}
    assert list(linear) == ["flipped-labels", "noise", "all"]
    assert linear["flipped-labels"] < 0
    assert len(result["validation"]) == 3 * 3 * 2  # corruptions and their mean, methods, fractions of wrong labels
    swept = pd.read_csv(folder / "validation.csv")
    assert list(swept) == ["corruption", "method", "size", "flipped", "draw", "auroc"]
    assert len(swept) == 2 * 3 * 2 * 2
    by_setting = {(row["setting"], row["value"], row["corruption"]): row["auroc"] for row in result["ablation"]}
    assert list(by_setting)[:2] == [("label_weight", "0.0", "flipped-labels"), ("epsilon", "0.1", "flipped-labels")]
    assert by_setting["epsilon", "0.1", "noise"] == auroc["noise", "lava"], "the configured value"
    assert by_setting["epsilon", "3.0", "all"] != by_setting["epsilon", "0.1", "all"]
    assert by_setting["label_weight", "0.0", "flipped-labels"] < auroc["flipped-labels", "lava"]
    assert watch.stages >= {"detect", "detect-by-validation", "detect-by-setting", "write-detection"}


def test_a_method_that_fails_leaves_the_results_of_the_others(royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(
        "items: 100\nval_items: 80\ncorruptions: [noise]\nmethods: [lava, class-shares]\nremoved: [0.25]\n"
        "encoding: {encoder: pixels, size: 8}\nvaluing: {max_iterations: 1}\ndraws: 1\n"
    )
    done = royalty("evaluate", "detection", "--config", "d.yaml", "--json")
    assert done.returncode == 1
    assert "noise, draw 1, lava:" in done.stderr
    assert "Traceback" not in done.stderr
    result = json.loads(done.stdout)
    assert [row["method"] for row in result["rows"]] == ["class-shares"]
    assert [message.partition(": ")[0] for message in result["failed"]] == ["noise, draw 1, lava"]
    assert (Path(result["folder"]) / "detection.csv").is_file(), "what was measured is published"


def test_what_cannot_be_valued_is_refused_before_any_work(royalty: Run, tmp_path: Path) -> None:
    train, val = save_arrays(tmp_path)
    for arguments, message in (
        (("lava", "--train", train), "`val` is missing; pass `--val`"),
        (("shapely", "--train", train, "--val", val), "`method`: input should be 'lava', 'sava' or 'knn-shapley'"),
    ):
        done = royalty("value", *arguments)
        assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "home").exists()
    done = royalty("value", "lava", "--train", train, "--val", val, "--out", "values.txt")
    assert (done.returncode, "Give a path that ends with .parquet" in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "values.txt").exists()


@pytest.mark.slow
def test_pairs_are_compared_without_entropy(royalty: Run, tmp_path: Path) -> None:
    for name, places in (("train", [0.0, 0.1, 10.0, 10.1]), ("val", [0.2, 10.2])):
        np.savez(
            tmp_path / f"{name}.npz",
            features=np.array(places, dtype=np.float32)[:, None],
            ids=list("abcd")[: len(places)],
        )
    (tmp_path / "pairs.csv").write_text("first,second\na,b\nb,c\nd,c\n")
    given = ("value", "lava", "--train", "train.npz", "--val", "val.npz", "--pairs", "pairs.csv")
    done = royalty(*given, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["pairs"], result["pairs_compared"]) == (3, 2)
    table = pd.read_csv(Path(result["folder"]) / "pairs.csv")
    assert list(table) == ["first", "second", "difference", "target", "shared"]
    # Minus the difference of the costs to the common target, 0.2 - 0.1 and 0.1 - 0.2, times N / (N - 1).
    expected = [-0.1 * 4 / 3, np.nan, 0.1 * 4 / 3]
    np.testing.assert_allclose(table["difference"], expected, atol=1e-4)  # costs are in float32
    assert table["target"].fillna("").tolist() == ["a", "", "b"]
    (tmp_path / "pairs.csv").write_text("first,second\na,x\n")
    refused = royalty(*given)
    assert refused.returncode == 1
    assert "0 items have 'x'" in refused.stderr
    (tmp_path / "pairs.csv").write_text("first,other\na,x\n")
    refused = royalty(*given)
    assert "has the columns first, other and 1 rows" in refused.stderr
    assert "`--pairs` compares values by `lava`" in royalty("value", "sava", *given[2:]).stderr
