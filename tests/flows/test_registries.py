"""An encoder, a distance, a judge of quality, a property and a generator are added by a line of a registry each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from royalty.flows.configuration import ConfigError, load_config, load_gmvaluator_config, load_value_config
from royalty.infra.stores.weights import WeightsError
from royalty.models.base.registry import Entry
from royalty.models.distances.registry import DISTANCES, build_distance
from royalty.models.encoders.registry import ENCODERS, build_encoder
from royalty.models.generators.kinds import KINDS, Kind
from royalty.models.properties.registry import PROPERTIES, Known, chosen_property
from royalty.models.quality.registry import QUALITIES
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.config.encoding import EncodingConfig
from royalty.tasks.config.matching import Matching
from royalty.tasks.stages.weights import check_weights
from tests.conftest import save_digits
from tests.in_process import own_home
from tests.watching import MODULES, watching

ADDED = str(Path(__file__).parents[1] / "added.py")

OWN = """
data: {source: digits, contributors: 3, concentration: 1.0}
classifier: {steps: 5}
generator: {kind: tinted, steps: 10, tint: -3}
property: darkness@pixels
sampling: {images: 64}
pruning: {recovery_steps: 5}
coalitions: {count: 12, finetune_steps: 4, batch_size: 16, learning_rate: 2.0e-4}
credit: {bootstrap: 100}
matching: {encoder: row-means, rerank: row-means, quality: darkness, images: 16}
"""


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line in each registry; nothing else is touched."""
    monkeypatch.setitem(ENCODERS, "row-means", Entry("tests.added:build_encoder", options={"scale": 1.0}))
    monkeypatch.setitem(DISTANCES, "row-means", Entry("tests.added:build_distance"))
    monkeypatch.setitem(QUALITIES, "darkness", Entry("tests.added:build_quality"))
    known = Known("darkness", "How dark images are.", "tests.added:build_property", ENCODERS)
    monkeypatch.setitem(PROPERTIES, "darkness", known)
    monkeypatch.setitem(KINDS, "tinted", Kind("tests.added:Tinted", {"tint": 0, "batch_size": 16}))


@pytest.mark.usefixtures("added")
@pytest.mark.slow
def test_a_run_with_all_of_them_and_its_keys(tmp_path: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they do is used, and the key of each stage that uses one covers its module."""
    from royalty.flows.credit import credit

    (tmp_path / "own.yaml").write_text(OWN)
    config = load_config(tmp_path / "own.yaml")
    monkeypatch.setitem(MODULES, ADDED, "tests.added")
    with own_home(tmp_path / "home", prefect_url), watching() as watch:
        result = credit(config)
    assert watch.uncovered == {}
    assert {"train", "prune", "coalition", "measure", "utility", "gmvaluator"} <= watch.using("tests.added")
    assert len(result.rows) == 3
    assert result.measured == 8


@pytest.mark.slow
@pytest.mark.usefixtures("added")
def test_keys_of_stages_that_value_items(tmp_path: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from royalty.flows.detection import detection
    from royalty.flows.gmvaluator import gmvaluator

    monkeypatch.setitem(MODULES, ADDED, "tests.added")
    for side in ("images", "made"):
        save_digits(tmp_path / side, ["ann", "bob"] * 5)
    matching = {"encoder": "row-means", "rerank": "row-means", "quality": "darkness", "k": 3}
    sides = {"train": tmp_path / "images", "generated": tmp_path / "made", "size": 8}
    planted = DetectionConfig(
        items=100,
        val_items=100,
        corruptions=("noise",),
        methods=("knn-shapley",),
        encoding=EncodingConfig(encoder="row-means"),
        removed=(0.1,),
    )
    with own_home(tmp_path / "home", prefect_url), watching() as watch:
        gmvaluator(load_gmvaluator_config(None, {**sides, "matching": matching}))
        detection(planted)
    assert watch.uncovered == {}
    assert {"embed", "gmvaluator", "detect"} <= watch.using("tests.added")


@pytest.mark.usefixtures("added")
def test_settings_of_a_kind_are_those_of_its_line(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("generator: {kind: tinted, tint: 3, steps: 5}\n")
    config = load_config(file)
    assert config.generator.architecture() == {"tint": 3}
    assert config.generator.training() == {"steps": 5, "batch_size": 16, "learning_rate": 1e-3, "ema_decay": 0.995}
    assert CreditConfig.reread(config.claimed()) == config.claimed()
    for text, message in (
        ("{kind: tinted, tone: 3}", "a tinted has the settings kind, gpus, .*, tint; got `tone`"),
        ("{kind: tinted, tint: dark}", "`tint` is of type int, as its default 0; got 'dark'"),
        ("{kind: tinted, steps: 0}", "`generator.steps`: .*greater than or equal to 1"),
        ("{kind: tint}", "no generator is called 'tint'; did you mean tinted"),
    ):
        file.write_text(f"generator: {text}\n")
        with pytest.raises(ConfigError, match=message):
            load_config(file)


@pytest.mark.usefixtures("added")
def test_names_are_choices_of_every_configuration_and_its_schema() -> None:
    choices = Matching.model_json_schema()["properties"]
    assert choices["encoder"]["enum"] == list(ENCODERS)
    assert choices["rerank"]["enum"] == ["none", *DISTANCES]
    assert choices["quality"]["enum"] == ["none", "realism", "density", *QUALITIES]
    assert chosen_property("fid@row-means").modules == ("royalty.models.properties.fid", "tests.added")
    sides = {"method": "lava", "train": "t", "val": "v"}
    assert load_value_config(None, {**sides, "encoding": {"encoder": "row-means"}}).encoding.entries


@pytest.mark.usefixtures("added")
def test_a_builder_takes_the_folders_of_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = replace(ENCODERS["row-means"], builder="tests.added:build_scaled", weights=("scales",), options={})
    monkeypatch.setitem(ENCODERS, "row-means", scaled)
    (tmp_path / "scale.txt").write_text("2")
    encoder = build_encoder("row-means", shape=(1, 2, 2), weights=lambda name: {"scales": tmp_path}[name])
    images = np.array([[[[0, 51], [255, 255]]]], np.uint8)
    np.testing.assert_allclose(encoder.features(images), [[0.2, 2.0]])
    np.testing.assert_allclose(build_distance("row-means", shape=(1, 2, 2)).encoder.features(images), [[0.1, 1.0]])
    with pytest.raises(WeightsError, match="scales"):
        check_weights(Matching(encoder="row-means").entries)


@pytest.mark.parametrize(
    ("matching", "message"),
    [
        (
            "encoder: clp",
            r"no encoder is called 'clp'; did you mean clip or clip-large\? There are .*v3.$",
        ),
        ("encoder: preact-resnet18", "`matching.encoder`: no encoder is called 'preact-resnet18'"),
        ("rerank: ssim", "no distance is called 'ssim'; .* none, encoder, l2, lpips, lpips-vgg, dreamsim"),
        (
            "quality: beauty",
            "`matching.quality`: no quality is called 'beauty'; .*here are none, realism, density, maniqa",
        ),
        ("quality: 3", r"`matching.quality`: input should be a valid string \(got 3\)"),
    ],
)
def test_a_name_that_there_is_not(tmp_path: Path, matching: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({"matching": yaml.safe_load(matching)}))
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "bad.yaml")
    sides = {"train": "t", "generated": "g", "matching": yaml.safe_load(matching)}
    with pytest.raises(ConfigError, match=message):
        load_gmvaluator_config(None, sides)
