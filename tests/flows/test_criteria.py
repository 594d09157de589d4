"""GMValuator's criteria: what is drawn, trained and judged, and the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from royalty.flows.cli.configuration import ConfigError, load_criteria_config
from royalty.flows.cli.criteria import TITLES
from royalty.infra.settings import Settings
from royalty.infra.workspace import Workspace, open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items
from royalty.tasks.benchmarks.criteria_worker import (
    Judged,
    judge_attributes,
    judge_identity,
    judge_membership,
    judge_outliers,
    load_checkpoints,
    neighbours_of,
    trace,
)
from royalty.tasks.benchmarks.efficiency_worker import PARTS, time_methods
from royalty.tasks.benchmarks.generators_worker import (
    classify,
    draw,
    find_attributes,
    fit,
    fit_classifier,
    halve,
    plant,
    sample,
)
from royalty.tasks.config.criteria import CriteriaConfig
from royalty.tasks.stages.stored_items import keep_items, load_items
from tests.conftest import save_digits

SMALL = """
items: 60
generators: [beta-vae]
steps: {beta_vae: 6}
images: 12
valued_by: 12
ks: [3, 5]
rerank: [none, l2]
encoder: pixels
classifier: 20
tracin: {checkpoints: 2, draws: 1}
noisy: 0.1
"""


def unseen(_: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def keep(space: Workspace, labels: np.ndarray) -> str:
    """Digest of images of random pixels."""
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 8, 8)).astype(np.uint8)
    made = Items.of_images(images)
    return str(keep_items(space, Items(made.ids, images, None, labels, None))["items"])


def keep_contributions(space: Workspace, items: np.ndarray, scores: np.ndarray) -> str:
    rows = {"generated": np.repeat(np.arange(len(items)), items.shape[1]), "item": items.ravel()}
    return space.artifacts.put(pd.DataFrame(rows | {"score": scores.ravel()}).to_parquet(index=False))


def judged_by(made: str = "", *, contributions: str = "", table: str = "", uncalibrated: str = "") -> Judged:
    named = {"generator": "vae", "method": "none", "made": made, "table": table}
    return Judged(**named, contributions=contributions, uncalibrated=uncalibrated)


def test_a_drawn_set_has_each_class_in_its_share(home: Settings) -> None:
    space = open_workspace(home)
    labels = np.repeat([0, 1, 2], [40, 20, 60])
    source = keep(space, labels)
    drawn = load_items(space, draw(source, 30, 0, home, unseen)["items"])
    assert np.bincount(drawn.labels).tolist() == [10, 5, 15]
    assert len(set(drawn.ids)) == 30
    assert draw(source, 30, 1, home, unseen)["items"] != draw(source, 30, 0, home, unseen)["items"]
    assert draw(source, None, 0, home, unseen)["items"] == source
    with pytest.raises(InputError, match="drawn from the 120 images of the source; got 121"):
        draw(source, 121, 0, home, unseen)
    digits = draw("", 50, 0, home, unseen)
    assert np.bincount(load_items(space, digits["items"]).labels).tolist() == [5] * 10
    assert digits["shape"] == [1, 28, 28]


def test_half_of_one_class_is_held_out(home: Settings) -> None:
    space = open_workspace(home)
    source = keep(space, np.repeat(["ann", "bob"], [11, 9]))
    whole = load_items(space, source)
    for label, count in ((None, 11), ("bob", 9)):
        halves = halve(source, label, 0, home, unseen)
        trained, held_out = set(halves["trained"]), set(halves["held_out"])
        assert not trained & held_out
        assert (len(trained), len(held_out)) == (count // 2, count - count // 2)
        assert {whole.labels[row] for row in trained | held_out} == {label or "ann"}
        rest = load_items(space, halves["items"]).ids
        assert set(rest) == set(whole.ids) - {whole.ids[row] for row in held_out}
    with pytest.raises(InputError, match=r"'cat' has 0 in all\. Set `halved` to one of ann, bob"):
        halve(source, "cat", 0, home, unseen)


def test_noise_is_planted_where_it_is_said(home: Settings) -> None:
    space = open_workspace(home)
    source = keep(space, np.repeat([0, 1], 20))
    planted = plant(source, 0.1, 0, home, unseen)
    before, after = load_items(space, source), load_items(space, planted["items"])
    changed = np.flatnonzero((before.images != after.images).any(axis=(1, 2, 3)))
    assert changed.tolist() == planted["planted"]
    assert len(changed) == 4
    assert [own != other for own, other in zip(before.ids, after.ids, strict=True)] == np.isin(
        np.arange(40), changed
    ).tolist()


def test_every_generator_is_trained_kept_and_sampled(home: Settings) -> None:
    space = open_workspace(home)
    source = keep(space, np.repeat([0, 1], 10))
    for generator, parts in (("ddpm", 1), ("dcgan", 1), ("beta-vae", 3)):
        models = fit(source, generator, 4, parts, 0, home, unseen)["models"]
        assert len(models) == len(set(models)) == parts
        made = load_items(space, sample(models[-1], generator, 3, 7, home, unseen)["items"])
        assert made.images.shape == (3, 1, 8, 8)
        assert made.labels is None
    checkpoints = load_checkpoints(space, models)
    assert [rate for rate, _ in checkpoints] == [1e-3] * 3
    traced = trace(source, source, models, CriteriaConfig().tracin, 4, 0, home, unseen)
    assert neighbours_of(space, traced["contributions"], 20).shape == (20, 4)


def test_a_classifier_names_classes_as_the_training_set_does(home: Settings) -> None:
    space = open_workspace(home)
    levels = np.repeat([20, 230], 30).astype(np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (60, 1, 8, 8)).copy()
    images[:, 0, 0, 0] = np.arange(60)
    plain = Items.of_images(images)
    labels = np.where(levels < 100, "dark", "light")
    source = keep_items(space, Items(plain.ids, images, None, labels, None))["items"]
    made = keep_items(space, plain)["items"]
    trained = fit_classifier(source, "", 40, 0, home, unseen)
    assert trained["accuracy"] == 1.0
    seen = load_items(space, classify(made, source, trained["classifier"], home, unseen)["items"])
    assert seen.labels.tolist() == labels.tolist()


def test_identity_is_counted_by_hand(home: Settings) -> None:
    space = open_workspace(home)
    items, made = keep(space, np.array([0, 0, 0, 1, 1, 1])), keep(space, np.array([0, 1]))
    neighbours = np.array([[0, 1, 3, 2], [3, 0, 1, 4]])
    scores = np.array([[0.4, 0.2, 0.1, 0.1], [0.2, 0.1, 0.1, 0.0]])
    calibrated, plain = (keep_contributions(space, neighbours, each) for each in (scores, 2 * scores))
    each = judged_by(made, contributions=calibrated, uncalibrated=plain)
    found = judge_identity([each], items, [1, 3, 100], 0, home, unseen)
    assert {row["k"]: row["share"] for row in found["identity"]} == {1: 1.0, 3: 0.5, 4: 0.625}
    assert [(row["with"], row["without"]) for row in found["calibration"]] == [
        pytest.approx((0.3, 0.6)),
        pytest.approx((0.15, 0.3)),
        pytest.approx((0.1, 0.2)),
    ]
    assert [row["images"] for row in found["sensitivity"]] == [1]


def test_attributes_are_counted_by_hand(home: Settings) -> None:
    space = open_workspace(home)
    items = keep(space, np.array(["a", "ab", "b", "c", "ab", "a"]))
    made = keep(space, np.array(["ab", "ab", "a", "c"]))
    neighbours = np.array([[0, 1, 4, 2, 5], [1, 4, 0, 2, 3], [0, 5, 1, 3, 2], [3, 0, 1, 2, 4]])
    each = judged_by(made, contributions=keep_contributions(space, neighbours, np.ones((4, 5))))
    found = judge_attributes([each], items, {"A": ("a", "ab"), "B": ("b", "ab")}, home, unseen)["attributes"]
    shares = {row["attributes"]: (row["images"], row["share"], row["chance"]) for row in found}
    assert shares["A"] == pytest.approx((3, (4 / 5 + 3 / 5 + 3 / 5) / 3, 4 / 6))
    assert shares["B"] == pytest.approx((2, 3 / 5, 3 / 6))
    assert shares["A & B"] == pytest.approx((2, 2 / 5, 2 / 6))


def test_attributes_of_columns_take_the_place_of_those_of_labels(home: Settings) -> None:
    space = open_workspace(home)
    images = np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8)).astype(np.uint8)
    hats = np.array([True, True, False, True, True, True, False])
    items, made = (
        keep_items(space, replace(Items.of_images(shown), attributes={"hat": has}))["items"]
        for shown, has in ((images[:4], hats[:4]), (images[4:], hats[4:]))
    )
    neighbours = np.array([[0, 2], [3, 1], [2, 0]])
    each = judged_by(made, contributions=keep_contributions(space, neighbours, np.ones((3, 2))))
    (row,) = judge_attributes([each], items, {"unasked": ("0",)}, home, unseen)["attributes"]
    assert (row["attributes"], row["images"], row["share"], row["chance"]) == ("hat", 2, 3 / 4, 3 / 4)


def test_attributes_are_drawn_with_their_images_and_found_in_others(home: Settings) -> None:
    space = open_workspace(home)
    levels = np.repeat([20, 230], 30).astype(np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (60, 1, 8, 8)).copy()
    images[:, 0, 0, 0] = np.arange(60)
    plain = Items.of_images(images)
    known = {"light": levels > 100, "all": np.ones(60, dtype=bool)}
    source = keep_items(space, replace(plain, attributes=known))["items"]
    drawn = load_items(space, draw(source, 20, 0, home, unseen)["items"])
    assert drawn.attributes["light"].tolist() == (drawn.images[:, 0, 1, 1] > 100).tolist()
    assert 0 < drawn.attributes["light"].sum() < 20
    made = keep_items(space, plain)["items"]
    trained = fit_classifier(source, "light", 40, 0, home, unseen)
    assert trained["accuracy"] == 1.0
    found = load_items(space, find_attributes(made, {"light": trained["classifier"]}, home, unseen)["items"])
    assert found.attributes["light"].tolist() == known["light"].tolist()
    with pytest.raises(InputError, match="all training images have the attribute 'all'"):
        fit_classifier(source, "all", 1, 0, home, unseen)
    with pytest.raises(InputError, match="read without attributes"):
        fit_classifier(made, "light", 1, 0, home, unseen)


def test_values_tell_halves_and_noise_apart(home: Settings) -> None:
    space = open_workspace(home)
    values = np.array([0.0, 0.1, 0.2, 3.0, 3.1, 3.2])
    table = space.artifacts.put(pd.DataFrame({"value": values}).to_parquet(index=False))
    each = judged_by(table=table)
    (row,) = judge_membership([each], [3, 4, 5], [0, 1, 2], home, unseen)["membership"]
    assert (row["trained"], row["held_out"]) == pytest.approx((3.1, 0.1))
    assert row["p"] < 1e-3
    assert row["effect"] == pytest.approx(30)
    (row,) = judge_outliers([each], [0, 1], home, unseen)["outliers"]
    assert (row["auroc"], row["percentile"], row["noisy_zero"]) == pytest.approx((1.0, 0.1, 0.5))


def test_time_is_of_all_parts(home: Settings) -> None:
    source = keep(open_workspace(home), np.repeat([0, 1], 15))
    models = fit(source, "beta-vae", 2, 1, 0, home, unseen)["models"]
    made = sample(models[0], "beta-vae", 3, 0, home, unseen)["items"]
    config = CriteriaConfig(rerank=("none", "l2"), encoder="pixels", ks=(5,))
    plain, ranked, tracin = time_methods(config, source, made, models, home, unseen)["efficiency"]
    for row in (plain, ranked):
        assert row["alone"] == pytest.approx(sum(row[part] for part in PARTS))
        assert row["alone_ratio"] == pytest.approx(tracin["alone"] / row["alone"])
        assert row["together"] > row["prepared"] / 3
    assert plain["rerank"] == 0 < ranked["rerank"]
    assert tracin["alone"] > tracin["together"] > 0
    (only,) = time_methods(
        config.model_copy(update={"tracin": None, "rerank": ("none",)}), source, made, models, home, unseen
    )["efficiency"]
    assert "alone_ratio" not in only


def test_images_without_labels_are_refused(home: Settings) -> None:
    space = open_workspace(home)
    plain = keep_items(space, Items.of_images(np.zeros((4, 1, 8, 8), np.uint8)))["items"]
    with pytest.raises(InputError, match="add labels to the training set"):
        draw(plain, None, 0, home, unseen)
    features = keep_items(space, Items(("a",), None, np.ones((1, 2)), np.array([0]), None))["items"]
    with pytest.raises(InputError, match="give both as images"):
        draw(features, None, 0, home, unseen)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("generators: [gan]", "`generators.0`: input should be 'ddpm', 'beta-vae' or 'dcgan'"),
        ("generators: []", "`generators`"),
        ("steps: {beta-vae: 4}", "unknown key `steps.beta-vae`; did you mean `beta_vae`"),
        ("steps: {beta_vae: 2}", "at least one step to a checkpoint of `tracin`, of which there are 3"),
        ("images: 1", "`images`: .*greater than or equal to 2"),
        ("rerank: [ssim]", "`rerank.0`"),
        ("ks: []", "`ks`"),
        ("size: 30", "`size`: .*multiple of 4"),
        ("noisy: 0.7", "`noisy`"),
        ("attribute_columns: [hat]", "`attribute_columns` are columns of the table of `train`; give it"),
        ("train: t\nattribute_columns: [hat, hat]", "each of `attribute_columns` is named once; got hat, hat"),
    ],
)
def test_bad_configuration(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_criteria_config(file, {})


def test_configuration_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("generated: made\nsteps: {beta_vae: 1}\ntracin: null\nks: [7, 9]\n")
    config = load_criteria_config(tmp_path / "c.yaml", {"train": Path("t"), "generated": None, "name": None})
    assert (config.name, config.train, config.generated) == ("c", Path("t"), tmp_path / "made")
    assert config.checkpoints == config.steps.of("beta-vae") == 1
    matching = config.matching("l2", quality="none")
    assert (matching.k, matching.rerank, matching.quality) == (9, "l2", "none")
    assert config.matching("none").quality == "realism"


def run_all(royalty: Callable[..., object], *criteria: str) -> dict[str, dict[str, object]]:
    found = {}
    for criterion in criteria:
        done = royalty("evaluate", criterion, "--config", "c.yaml", "--json")
        assert done.returncode == 0, done.stderr
        found[criterion] = json.loads(done.stdout)
    return found


def test_criteria_of_a_generator_trained_here(royalty, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(SMALL)
    found = run_all(royalty, "identity", "membership", "outliers", "efficiency")
    methods = {(row["method"], row["k"]) for row in found["identity"]["rows"]}
    assert methods == {(method, k) for method in ("none", "l2", "vae-tracin") for k in (3, 5)}
    assert all(0 <= row["share"] <= 1 for row in found["identity"]["rows"])
    assert 0 <= found["identity"]["accuracy"] <= 1
    for criterion in ("membership", "outliers"):
        assert [row["method"] for row in found[criterion]["rows"]] == ["none", "l2"]
    assert found["efficiency"]["rows"][0]["alone_ratio"] > 1
    folder = Path(found["identity"]["folder"])
    files = {file.name for file in folder.iterdir()}
    assert files >= {f"{name}.csv" for name in (*found, "sensitivity", "calibration")}
    assert files >= {"identity-beta-vae-vae-tracin.png", "membership.png", "outliers.png"}
    assert len(pd.read_csv(folder / "identity.csv")) == 6
    assert {name: len(rows) for name, rows in found["identity"]["more"].items()} == {"sensitivity": 6, "calibration": 6}
    shown = royalty("evaluate", "identity", "--config", "c.yaml")  # all from the run store
    for title in TITLES.values():
        assert title in shown.stdout


def test_criteria_of_images_that_are_given(royalty, tmp_path: Path) -> None:
    save_digits(tmp_path / "images", ["ann", "bob"] * 15)
    given = "train: images\ngenerated: images\nsize: 8\nattributes: {low: ['0'], not-high: ['0', '1']}\n"
    (tmp_path / "c.yaml").write_text(f"{given}ks: [1]\nrerank: [none]\nencoder: pixels\n")
    found = run_all(royalty, "identity", "attributes")
    (row,) = found["identity"]["rows"]
    assert (row["generator"], row["share"]) == ("given", 1.0)  # each image is its own nearest
    assert found["identity"]["accuracy"] is None
    assert {row["attributes"] for row in found["attributes"]["rows"]} == {"low", "not-high", "low & not-high"}
    table = (tmp_path / "images" / "metadata.csv").read_text().splitlines()
    rows = [f"{row},{'hat' if not line else line % 2}" for line, row in enumerate(table)]
    (tmp_path / "images" / "metadata.csv").write_text("\n".join(rows))
    (tmp_path / "c.yaml").write_text(f"{given}attribute_columns: [hat]\nks: [1]\nrerank: [none]\nencoder: pixels\n")
    by_column = run_all(royalty, "attributes")["attributes"]
    assert {row["attributes"] for row in by_column["rows"]} == {"hat"}
    assert {row["chance"] for row in by_column["rows"]} == {0.5}
    assert by_column["accuracy"] is None
    refused = royalty("evaluate", "outliers", "--config", "c.yaml")
    assert refused.returncode == 1
    assert "trains its generators itself" in refused.stderr
    assert "Traceback" not in refused.stderr
