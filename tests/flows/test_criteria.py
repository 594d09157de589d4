"""GMValuator's criteria: what is drawn, trained and judged, and the commands."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from royalty.flows.cli.criteria import TITLES
from royalty.flows.configuration import ConfigError, load_criteria_config
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import Items
from royalty.models.properties.classifier import Classifier
from royalty.tasks.benchmarks.classes_worker import classify, find_attributes, fit_classifier
from royalty.tasks.benchmarks.criteria_worker import (
    judge_attributes,
    judge_identity,
    judge_membership,
    judge_outliers,
    neighbours_of,
)
from royalty.tasks.benchmarks.criterion_stages import (
    AttributesInputs,
    EfficiencyInputs,
    IdentityInputs,
    Judged,
    MembershipInputs,
    OutliersInputs,
    TracInInputs,
)
from royalty.tasks.benchmarks.efficiency_worker import PARTS, time_methods
from royalty.tasks.benchmarks.generator_stages import (
    ClassifyInputs,
    DrawInputs,
    FindAttributesInputs,
    GeneratorInputs,
    HalveInputs,
    ImageClassifierInputs,
    PlantInputs,
    SampleInputs,
)
from royalty.tasks.benchmarks.generators_worker import fit, sample
from royalty.tasks.benchmarks.halves_worker import halve
from royalty.tasks.benchmarks.tracin_worker import load_checkpoints, trace
from royalty.tasks.benchmarks.training_sets_worker import draw, plant
from royalty.tasks.config.criteria import CriteriaConfig, GeneratorName, TracInConfig
from royalty.tasks.items.stored_items import keep_items, load_items
from royalty.tasks.stages.context import StageContext, open_stores, stage_context
from royalty.tasks.stages.stage import TableRow
from tests.conftest import Run, save_digits
from tests.watching import Watch

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
halved: "1"  # nearest to what so little training makes
retrainings: 2
single: 3
"""


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return stage_context(open_stores(tmp_path / "home", "", tmp_path / "weights", 1), "key", lambda _steps: None)


def keep(context: StageContext, labels: np.ndarray) -> str:
    """Digest of images of random pixels."""
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 1, 8, 8)).astype(np.uint8)
    made = Items.of_images(images)
    return keep_items(context.artifacts, Items(made.ids, images, None, labels, None)).items


def keep_contributions(context: StageContext, items: np.ndarray, scores: np.ndarray) -> str:
    rows = {"generated": np.repeat(np.arange(len(items)), items.shape[1]), "item": items.ravel()}
    return context.artifacts.put(pd.DataFrame(rows | {"score": scores.ravel()}).to_parquet(index=False))


def judged_by(made: str = "", *, contributions: str = "", table: str = "", uncalibrated: str = "") -> Judged:
    return Judged("vae", "none", made, table, contributions, uncalibrated)


def half_dark() -> Items:
    """Thirty dark images and thirty light ones, all different."""
    levels = np.repeat([20, 230], 30).astype(np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (60, 1, 8, 8)).copy()
    images[:, 0, 0, 0] = np.arange(60)
    return Items.of_images(images)


def test_a_drawn_set_has_each_class_in_its_share(context: StageContext) -> None:
    labels = np.repeat([0, 1, 2], [40, 20, 60])
    source = keep(context, labels)
    drawn = draw(DrawInputs(source, 30, 0), context)
    items = load_items(context.artifacts, drawn.items)
    assert np.bincount(items.labels).tolist() == [10, 5, 15]
    assert len(set(items.ids)) == drawn.count == 30
    assert draw(DrawInputs(source, 30, 1), context).items != drawn.items
    assert draw(DrawInputs(source, None, 0), context).items == source
    with pytest.raises(InputError, match="at most the number of images of the source, 120; got 121"):
        draw(DrawInputs(source, 121, 0), context)
    digits = draw(DrawInputs("", 50, 0), context)
    assert np.bincount(load_items(context.artifacts, digits.items).labels).tolist() == [5] * 10
    assert digits.shape == [1, 28, 28]


def test_half_of_one_class_is_held_out(context: StageContext) -> None:
    source = keep(context, np.repeat(["ann", "bob"], [11, 9]))
    whole = load_items(context.artifacts, source)
    for label, count in ((None, 11), ("bob", 9)):
        halves = halve(HalveInputs(source, label, 0), context)
        trained, held_out = set(halves.trained), set(halves.held_out)
        assert not trained & held_out
        assert (len(trained), len(held_out)) == (count // 2, count - count // 2)
        assert {whole.labels[row] for row in trained | held_out} == {label or "ann"} == {halves.label}
        rest = load_items(context.artifacts, halves.items).ids
        assert set(rest) == set(whole.ids) - {whole.ids[row] for row in held_out}
    with pytest.raises(InputError, match=r"'cat' has 0 in all\. Set `halved` to one of ann, bob"):
        halve(HalveInputs(source, "cat", 0), context)


def test_noise_is_planted_in_the_stated_items(context: StageContext) -> None:
    source = keep(context, np.repeat([0, 1], 20))
    planted = plant(PlantInputs(source, 0.1, 0), context)
    before, after = (load_items(context.artifacts, digest) for digest in (source, planted.items))
    changed = np.flatnonzero((before.images != after.images).any(axis=(1, 2, 3)))
    assert changed.tolist() == planted.planted
    assert len(changed) == 4
    renamed = [old != new for old, new in zip(before.ids, after.ids, strict=True)]
    assert np.flatnonzero(renamed).tolist() == planted.planted


@pytest.mark.slow
def test_every_generator_is_trained_kept_and_sampled(context: StageContext) -> None:
    source, models = keep(context, np.repeat([0, 1], 10)), {}
    for generator in get_args(GeneratorName):
        parts = 3 if generator == "beta-vae" else 1
        models[generator] = fit(GeneratorInputs(source, generator, 4, parts, 0), context).models
        assert len(models[generator]) == len(set(models[generator])) == parts
        made = sample(SampleInputs(models[generator][-1], generator, 3, 7), context)
        images = load_items(context.artifacts, made.items)
        assert images.images.shape == (3, 1, 8, 8)
        assert images.labels is None
        assert not made.labelled
    checkpoints = load_checkpoints(context.artifacts, models["beta-vae"])
    assert [rate for rate, _ in checkpoints] == [1e-3] * 3
    traced = trace(TracInInputs(source, source, models["beta-vae"], TracInConfig(), 4, 0), context)
    assert neighbours_of(context.artifacts, traced.contributions, 20).shape == (20, 4)


@pytest.mark.slow
def test_a_classifier_names_classes_as_the_training_set_does(context: StageContext) -> None:
    plain = half_dark()
    labels = np.repeat(["dark", "light"], 30)
    source = keep_items(context.artifacts, replace(plain, labels=labels)).items
    made = keep_items(context.artifacts, plain).items
    trained = fit_classifier(ImageClassifierInputs(source, "", 40, 0), context)
    assert trained.accuracy == 1.0
    classified = classify(ClassifyInputs(made, source, trained.classifier), context)
    assert classified.labelled
    assert load_items(context.artifacts, classified.items).labels.tolist() == labels.tolist()
    certainty = Classifier.from_bytes(context.artifacts.get(trained.classifier)).probabilities(plain.images).max(axis=1)
    limit = float(np.sort(certainty)[len(labels) // 2])
    sure = classify(ClassifyInputs(made, source, trained.classifier, limit), context)
    kept = load_items(context.artifacts, sure.items)
    np.testing.assert_array_equal(kept.images, plain.images[certainty >= limit])
    assert kept.labels.tolist() == labels[certainty >= limit].tolist()
    with pytest.raises(InputError, match=rf"at least `confident`, 1.1, and of {len(labels)} images the highest is"):
        classify(ClassifyInputs(made, source, trained.classifier, 1.1), context)


def test_identity_is_counted_by_hand(context: StageContext) -> None:
    items, made = keep(context, np.array([0, 0, 0, 1, 1, 1])), keep(context, np.array([0, 1]))
    neighbours = np.array([[0, 1, 3, 2], [3, 0, 1, 4]])
    scores = np.array([[0.4, 0.2, 0.1, 0.1], [0.2, 0.1, 0.1, 0.0]])
    calibrated, plain = (keep_contributions(context, neighbours, table) for table in (scores, 2 * scores))
    judged = judged_by(made, contributions=calibrated, uncalibrated=plain)
    result = judge_identity(IdentityInputs([judged], items, [1, 3, 100], 0), context)
    assert {row["k"]: row["share"] for row in result.identity} == {1: 1.0, 3: 0.5, 4: 0.625}
    assert [(row["with"], row["without"]) for row in result.calibration] == [
        pytest.approx((0.3, 0.6)),
        pytest.approx((0.15, 0.3)),
        pytest.approx((0.1, 0.2)),
    ]
    assert [row["images"] for row in result.sensitivity] == [1]


def test_a_single_generated_image_has_a_share_without_a_standard_error(context: StageContext) -> None:
    items, made = keep(context, np.array([0, 1])), keep(context, np.array([0]))
    judged = judged_by(made, contributions=keep_contributions(context, np.array([[0, 1]]), np.ones((1, 2))))
    (row,) = judge_identity(IdentityInputs([judged], items, [2], 0), context).identity
    assert (row["share"], row["stderr"]) == (0.5, None)


def test_attributes_are_counted_by_hand(context: StageContext) -> None:
    items = keep(context, np.array(["a", "ab", "b", "c", "ab", "a"]))
    made = keep(context, np.array(["ab", "ab", "a", "c"]))
    neighbours = np.array([[0, 1, 4, 2, 5], [1, 4, 0, 2, 3], [0, 5, 1, 3, 2], [3, 0, 1, 2, 4]])
    judged = judged_by(made, contributions=keep_contributions(context, neighbours, np.ones((4, 5))))
    attributes = {"A": ["a", "ab"], "B": ["b", "ab"]}
    rows = judge_attributes(AttributesInputs([judged], items, attributes), context).attributes
    shares = {row["attributes"]: (row["images"], row["share"], row["chance"]) for row in rows}
    assert shares["A"] == pytest.approx((3, (4 / 5 + 3 / 5 + 3 / 5) / 3, 4 / 6))
    assert shares["B"] == pytest.approx((2, 3 / 5, 3 / 6))
    assert shares["A & B"] == pytest.approx((2, 2 / 5, 2 / 6))


def test_attributes_of_columns_take_the_place_of_those_of_labels(context: StageContext) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8)).astype(np.uint8)
    hats = np.array([True, True, False, True, True, True, False])
    items, made = (
        keep_items(context.artifacts, replace(Items.of_images(shown), attributes={"hat": has})).items
        for shown, has in ((images[:4], hats[:4]), (images[4:], hats[4:]))
    )
    neighbours = np.array([[0, 2], [3, 1], [2, 0]])
    judged = judged_by(made, contributions=keep_contributions(context, neighbours, np.ones((3, 2))))
    (row,) = judge_attributes(AttributesInputs([judged], items, {"unasked": ["0"]}), context).attributes
    assert (row["attributes"], row["images"], row["share"], row["chance"]) == ("hat", 2, 3 / 4, 3 / 4)


@pytest.mark.slow
def test_attributes_are_drawn_with_their_images_and_found_in_others(context: StageContext) -> None:
    plain = half_dark()
    known = {"light": np.repeat([False, True], 30), "all": np.ones(60, dtype=bool)}
    source = keep_items(context.artifacts, replace(plain, attributes=known)).items
    drawn = load_items(context.artifacts, draw(DrawInputs(source, 20, 0), context).items)
    assert drawn.attributes["light"].tolist() == (drawn.images[:, 0, 1, 1] > 100).tolist()
    assert 0 < drawn.attributes["light"].sum() < 20
    made = keep_items(context.artifacts, plain).items
    trained = fit_classifier(ImageClassifierInputs(source, "light", 40, 0), context)
    assert trained.accuracy == 1.0
    found = find_attributes(FindAttributesInputs(made, {"light": trained.classifier}), context)
    assert found.attributes == ["light"]
    assert load_items(context.artifacts, found.items).attributes["light"].tolist() == known["light"].tolist()
    with pytest.raises(InputError, match="all training images have the attribute 'all'"):
        fit_classifier(ImageClassifierInputs(source, "all", 1, 0), context)
    with pytest.raises(InputError, match="none were read; name their columns"):
        fit_classifier(ImageClassifierInputs(made, "light", 1, 0), context)


def test_values_tell_halves_and_noise_apart(context: StageContext) -> None:
    values = np.array([0.0, 0.1, 0.2, 3.0, 3.1, 3.2])
    table = context.artifacts.put(pd.DataFrame({"value": values}).to_parquet(index=False))
    judged = judged_by(table=table)
    halves = judge_membership(MembershipInputs([judged], [3, 4, 5], [0, 1, 2]), context)
    (row,) = halves.membership
    assert (row["trained"], row["held_out"]) == pytest.approx((3.1, 0.1))
    assert row["p"] < 1e-3
    assert row["effect"] == pytest.approx(30)
    assert halves.values["vae, none, held out"] == [0.0, 0.1, 0.2]
    noisy = judge_outliers(OutliersInputs([judged], [0, 1]), context)
    (row,) = noisy.outliers
    assert (row["auroc"], row["percentile"], row["noisy_zero"]) == pytest.approx((1.0, 0.1, 0.5))
    assert noisy.curves["vae, none"] == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.slow
def test_time_is_of_all_parts(context: StageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each reading moves the clock by a second: what is asserted is which parts are timed, not how fast this machine is.
    readings = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(readings)))
    monkeypatch.setattr("royalty.tasks.benchmarks.efficiency_worker.time", clock)
    source = keep(context, np.repeat([0, 1], 15))
    models = fit(GeneratorInputs(source, "beta-vae", 2, 1, 0), context).models
    made = sample(SampleInputs(models[0], "beta-vae", 3, 0), context).items
    config = CriteriaConfig(rerank=("none", "l2"), encoder="pixels", ks=(5,))

    def timed(config: CriteriaConfig) -> list[TableRow]:
        return time_methods(EfficiencyInputs(config.methods, 0, (source, made, models)), context).efficiency

    plain, ranked, tracin = timed(config)
    for row in (plain, ranked):
        assert row["alone"] == pytest.approx(sum(row[part] for part in PARTS))
        assert row["alone_ratio"] == pytest.approx(tracin["alone"] / row["alone"])
        assert row["together"] > row["prepared"] / 3
    assert plain["rerank"] == 0 < ranked["rerank"]
    assert (tracin["alone"], tracin["together"]) == (1.0, 1 / 3)
    (only,) = timed(config.model_copy(update={"tracin": None, "rerank": ("none",)}))
    assert "alone_ratio" not in only


def test_images_without_labels_are_refused(context: StageContext) -> None:
    plain = keep_items(context.artifacts, Items.of_images(np.zeros((4, 1, 8, 8), np.uint8))).items
    with pytest.raises(InputError, match="add labels to the training set"):
        draw(DrawInputs(plain, None, 0), context)
    features = keep_items(context.artifacts, Items(("a",), None, np.ones((1, 2)), np.array([0]), None)).items
    with pytest.raises(InputError, match="give both as images"):
        draw(DrawInputs(features, None, 0), context)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("generators: [gan]", "`generators.0`: input should be 'ddpm', 'beta-vae', 'dcgan' or 'conditional-ddpm'"),
        ("generators: []", "`generators`"),
        ("steps: {beta-vae: 4}", "unknown key `steps.beta-vae`; did you mean `beta_vae`"),
        ("steps: {beta_vae: 2}", "at least one step for each checkpoint of `tracin`, which are 3"),
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


def run_all(royalty: Run, *criteria: str) -> dict[str, dict[str, object]]:
    found = {}
    for criterion in criteria:
        done = royalty("evaluate", criterion, "--config", "c.yaml", "--json")
        assert done.returncode == 0, done.stderr
        found[criterion] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_criteria_of_a_generator_trained_here(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(SMALL)
    found = run_all(royalty, "identity", "membership", "outliers", "efficiency", "causes")
    methods = {(row["method"], row["k"]) for row in found["identity"]["rows"]}
    assert methods == {(method, k) for method in ("none", "l2", "vae-tracin") for k in (3, 5)}
    assert all(0 <= row["share"] <= 1 for row in found["identity"]["rows"])
    assert 0 <= found["identity"]["accuracy"] <= 1
    for criterion in ("membership", "outliers"):
        assert [row["method"] for row in found[criterion]["rows"]] == ["none", "l2"]
    assert found["efficiency"]["rows"][0]["alone_ratio"] > 1
    caused = {row["method"]: row for row in found["causes"]["rows"]}
    assert set(caused) == {"none", "l2", "vae-tracin", "random"}
    assert {row["seeds"] for row in caused.values()} == {2}
    assert all(0 <= caused[method]["images"] <= 1 for method in ("none", "l2", "vae-tracin"))
    single = {row["method"]: row for row in found["causes"]["more"]["single-images"]}
    assert set(single) == {"none", "l2", "vae-tracin"}
    assert all((row["tried"], row["seeds"]) == (3, 2) and 1 / 6 <= row["p"] <= 1 for row in single.values())
    assert len(found["causes"]["more"]["effects"]) == 9
    (tmp_path / "clusters.yaml").write_text(f"{SMALL}\nsplit: clusters\nname: clusters\n")
    halved = json.loads(royalty("evaluate", "membership", "--config", "clusters.yaml", "--json").stdout)
    assert {row["split"] for row in halved["rows"]} == {"clusters"}
    assert {row["split"] for row in found["membership"]["rows"]} == {"random"}
    folder = Path(found["identity"]["folder"])
    files = {file.name for file in folder.iterdir()}
    assert files >= {f"{name}.csv" for name in (*found, "sensitivity", "calibration")}
    assert files >= {"identity-beta-vae-vae-tracin.png", "membership.png", "outliers.png"}
    assert len(pd.read_csv(folder / "identity.csv")) == 6
    assert {name: len(rows) for name, rows in found["identity"]["more"].items()} == {"sensitivity": 6, "calibration": 6}
    for criterion, titled in (("identity", ("sensitivity", "calibration")), ("causes", ("single-images",))):
        shown = royalty("evaluate", criterion, "--config", "c.yaml")  # all from the run store
        assert all(TITLES[name] in shown.stdout for name in titled)
    assert watch.stages >= {"generator", "sample", "vae-tracin", "time-methods"}


@pytest.mark.slow
def test_criteria_of_images_that_are_given(watch: Watch, royalty: Run, tmp_path: Path) -> None:
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
    assert "trains its generators on images that it prepares" in refused.stderr
    assert "Traceback" not in refused.stderr
