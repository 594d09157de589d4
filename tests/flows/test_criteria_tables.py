"""Tables that criteria have besides their own: quality of poor images, distances by attributes, random subsets."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from royalty.flows.cli.criteria import TITLES
from royalty.flows.configuration import ConfigError, load_criteria_config
from royalty.models.base.errors import InputError
from royalty.models.generators.beta_vae import BetaVAE
from royalty.models.generators.dcgan import DCGAN
from royalty.models.judging.subsets import random_subsets
from royalty.tasks.benchmarks import subsets_worker
from royalty.tasks.benchmarks.contributor_stages import (
    DistancesInputs,
    InfluenceInputs,
    OfClassInputs,
    PoorInputs,
    SpoilInputs,
)
from royalty.tasks.benchmarks.contributors_worker import judge_distances, judge_poor, of_class, spoil_images
from royalty.tasks.benchmarks.criteria_worker import judge_identity
from royalty.tasks.benchmarks.criterion_stages import AttributesInputs, EfficiencyInputs, IdentityInputs, TimedGAN
from royalty.tasks.benchmarks.efficiency_worker import time_methods
from royalty.tasks.benchmarks.generator_stages import GeneratorInputs, SampleInputs
from royalty.tasks.benchmarks.generators_worker import fit, sample
from royalty.tasks.benchmarks.influence_worker import trace_gan
from royalty.tasks.benchmarks.subset_stages import SubsetsInputs
from royalty.tasks.config.criteria import CriteriaConfig
from royalty.tasks.config.if4gan import IF4GANConfig
from royalty.tasks.items.stored_items import load_items, load_values
from royalty.tasks.stages.context import StageContext
from tests.conftest import Run, save_digits
from tests.flows.test_criteria import SMALL, context, judged_by, keep, keep_contributions
from tests.watching import Watch

__all__ = ["context"]


def test_images_of_one_class_are_judged_by_hand(context: StageContext) -> None:
    items, made = keep(context, np.array([0, 0, 0, 1])), keep(context, np.array([1, 0, 1, 0, 0]))
    selected = of_class(OfClassInputs(made, "0"), context)
    before, after = (load_items(context.artifacts, digest) for digest in (made, selected.items))
    assert selected.count == 3
    np.testing.assert_array_equal(after.images, before.images[[1, 3, 4]])
    assert after.labels.tolist() == [0, 0, 0]
    judged = judged_by(
        selected.items, contributions=keep_contributions(context, np.array([[0, 1], [3, 0], [3, 3]]), np.ones((3, 2)))
    )
    result = judge_identity(IdentityInputs([judged], items, [1, 2], 0, "0"), context)
    assert [(row["label"], row["k"], row["share"], row["chance"]) for row in result.identity] == [
        ("0", 1, pytest.approx(1 / 3), 0.75),
        ("0", 2, pytest.approx(1 / 2), 0.75),
    ]
    (row,) = result.sensitivity
    assert (row["label"], row["images"], row["chance"]) == ("0", 1, 0.75)
    every = keep_contributions(context, np.zeros((5, 1), dtype=int), np.ones((5, 1)))
    whole = judge_identity(IdentityInputs([judged_by(made, contributions=every)], items, [1], 0), context)
    assert [(row["label"], row["chance"]) for row in whole.identity] == [
        ("all", pytest.approx(3 / 5 * 3 / 4 + 2 / 5 / 4))
    ]
    for label, count in (("cat", 0), ("2", 1)):
        few = keep(context, np.array([0, 0, 1, 2]))
        told = rf"at least two images with its label; got `label` = '{label}', which {count} of 4 .* labels 0, 1, 2\."
        with pytest.raises(InputError, match=told):
            of_class(OfClassInputs(few, label), context)


@pytest.mark.slow
def test_one_class_of_given_images(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    save_digits(tmp_path / "images", ["ann", "bob"] * 15)
    (tmp_path / "c.yaml").write_text("size: 8\nlabel: '1'\nks: [3]\nrerank: [none, l2]\nencoder: pixels\n")
    given = "--train", "images", "--generated", "images", "--config", "c.yaml"
    done = royalty("evaluate", "identity", *given, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    labels = pd.read_csv(tmp_path / "images" / "metadata.csv")["label"]
    count = int((labels == 1).sum())
    assert 2 < count < 30
    rows = [*found["rows"], *found["more"]["sensitivity"]]
    assert all((row["label"], row["chance"]) == ("1", pytest.approx(count / 30)) for row in rows)
    assert {row["images"] for row in found["rows"]} == {count}
    assert {row["images"] for row in found["more"]["sensitivity"]} == {size for size in (1, 10, 30) if size < count}
    assert (Path(found["folder"]) / "identity.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "c.yaml").write_text("label: cat\ngenerators: [beta-vae]\nitems: 60\n")
    refused = royalty("evaluate", "identity", "--config", "c.yaml")
    assert refused.returncode == 1
    assert "got `label` = 'cat', which 0 of 60 images have" in " ".join(refused.stderr.split())
    assert "generator" not in watch.stages


@pytest.mark.slow
def test_if4gan_is_timed_beside_vae_tracin(context: StageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    readings, traced = itertools.count(), list[tuple[int, int, int]]()
    clock = SimpleNamespace(perf_counter=lambda: float(next(readings)))  # each reading takes a second
    monkeypatch.setattr("royalty.tasks.benchmarks.efficiency_worker.time", clock)
    source = keep(context, np.repeat([0, 1], 10))
    sides = {}
    for generator, images, net in (("beta-vae", 3, BetaVAE), ("dcgan", 5, DCGAN)):
        model = context.artifacts.put(net((1, 8, 8), seed=0).to_bytes())
        sides[generator] = model, sample(SampleInputs(model, generator, images, 0), context).items
    config = CriteriaConfig(rerank=("none",), encoder="pixels", ks=(5,), quality="none")
    settings = IF4GANConfig(epochs=2, batch_size=10)

    def values(net: DCGAN, images: np.ndarray, count: int, settings: IF4GANConfig, *, seed: int) -> np.ndarray:
        traced.append((len(images), count, settings.epochs))
        return np.zeros(len(images))

    monkeypatch.setattr("royalty.tasks.benchmarks.efficiency_worker.gan_values", values)
    gan = TimedGAN(*sides["dcgan"], settings)
    vae, made = sides["beta-vae"]
    rows = time_methods(EfficiencyInputs(config.methods, 0, (source, made, [vae]), gan), context).efficiency
    assert [(row["generator"], row["method"], row["images"]) for row in rows] == [
        ("beta-vae", "gmvaluator, none", 3),
        ("beta-vae", "vae-tracin", 3),
        ("dcgan", "gmvaluator, none", 5),
        ("dcgan", "if4gan", 5),
    ]
    assert traced == [(1, 1, 1), (20, 1, 2), (20, 5, 2)]  # the first call warms up
    ours, if4gan = rows[2:]
    assert (if4gan["alone"], if4gan["together"], if4gan["total"]) == (1.0, 1 / 5, 1.0)
    assert ours["alone_ratio"] == pytest.approx(if4gan["alone"] / ours["alone"])
    assert ours["total"] == pytest.approx(5 * ours["together"])
    only = time_methods(EfficiencyInputs(config.methods, 0, (source, made, [vae])), context).efficiency
    assert {row["generator"] for row in only} == {"beta-vae"}


def test_images_become_poor_by_noise_or_by_others(context: StageContext) -> None:
    made, early = keep(context, np.zeros(10)), keep(context, np.arange(12) * 0)
    before = load_items(context.artifacts, made).images
    spoiled = spoil_images(SpoilInputs(made, 0.3, "", 0), context)
    after = load_items(context.artifacts, spoiled.items).images
    assert np.flatnonzero((after != before).any(axis=(1, 2, 3))).tolist() == spoiled.poor
    assert len(spoiled.poor) == 3
    other = keep(context, np.zeros(10))
    assert load_items(
        context.artifacts, spoil_images(SpoilInputs(made, 0.3, other, 0), context).items
    ).images.tolist() == (before.tolist())
    with pytest.raises(Exception, match="poor images take the place of others of shape"):
        spoil_images(SpoilInputs(made, 0.3, early, 0), context)


def test_quality_is_judged_by_hand(context: StageContext) -> None:
    # Items 0 and 1 have noise. The second image is poor: it gives its value to them, unless its quality weighs it.
    neighbours = np.array([[3, 2], [0, 1]])
    weighted, plain = np.array([[0.6, 0.3], [0.06, 0.04]]), np.array([[0.6, 0.4], [0.6, 0.4]])
    tables = [keep_contributions(context, neighbours, scores) for scores in (weighted, plain)]
    judged = [judged_by(made, contributions=tables[0], uncalibrated=tables[1]) for made in ("good", "spoiled")]
    good, spoiled = judge_poor(PoorInputs(judged, {"spoiled": [1]}, [0, 1], 4), context).poor
    assert (spoiled["poor"], spoiled["good_quality"], spoiled["poor_quality"]) == pytest.approx((0.5, 0.9, 0.1))
    assert (good["poor"], good["poor_quality"]) == (0, None)
    assert good["good_quality"] == pytest.approx(0.5)
    assert (spoiled["with"], spoiled["without"]) == pytest.approx((1 / 6, 0.5))  # ranks 0 and 1; ties share theirs
    assert (spoiled["auroc_with"], spoiled["auroc_without"]) == pytest.approx((1, 0.5))
    assert (spoiled["noisy_value_with"], spoiled["noisy_value_without"]) == pytest.approx((0.1, 0.5))


def test_distances_of_contributors_by_hand(context: StageContext) -> None:
    items, made = keep(context, np.array(["a", "ab", "b", "c"])), keep(context, np.array(["ab", "a"]))
    table = keep_contributions(context, np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.8, 0.0]]))
    inputs = AttributesInputs([judged_by(made, contributions=table)], items, {"A": ["a", "ab"], "B": ["b", "ab"]})
    rows = judge_distances(DistancesInputs(inputs, 0), context).distances
    found = {row["attributes"]: row for row in rows}
    assert {name: (row["images"], row["contributors"]) for name, row in found.items()} == {
        "all": (2, 2),
        "A": (2, 2),
        "B": (1, 2),
    }
    assert found["all"]["distance"] == 0  # a and ab, as the images
    assert found["B"]["distance"] == pytest.approx(0.5)  # a and ab, for ab twice
    assert found["B"]["training"] == pytest.approx((1 + 0 + 1 + 2) / 4)
    assert found["all"]["random"] > 0.2


def test_values_are_judged_by_subsets(context: StageContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses are minus the sums of values, with the noise of two trainings; other values know nothing."""
    count, seeds = 40, list(range(1000, 1012))
    generator = np.random.default_rng(0)
    items = np.stack([generator.choice(count, 10, replace=False) for _ in range(6)])
    scores = generator.random((6, 10))
    values = np.zeros((count, 6))
    values[items, np.arange(6)[:, None]] = scores
    masks = random_subsets(count, 0.5, seeds)

    def losses(_artifacts: object, models: list[str], made: np.ndarray) -> np.ndarray:
        assert len(made) == 6
        rows = [[int(part) for part in model.split()] for model in models]
        noise = [np.random.default_rng(row).normal(0, 0.01, 6) for row in rows]
        return -(masks[[subset for subset, _ in rows]] @ values) + noise

    monkeypatch.setattr(subsets_worker, "losses_of", losses)
    right = keep_contributions(context, items, scores)
    wrong = keep_contributions(context, generator.permutation(count)[items], scores)
    models = [[f"{subset} {seed}" for seed in range(2)] for subset in range(len(seeds))]
    inputs = SubsetsInputs(keep(context, np.zeros(6)), {"a": right, "b": wrong}, count, 0.5, seeds, models, 0)
    judged = subsets_worker.judge_subsets(inputs, context)
    rows = {row["method"]: row for row in judged.subsets}
    assert list(rows) == ["a", "b", "random", "another retraining"]
    assert all((row["images"], row["subsets"], row["seeds"]) == (6, 12, 2) for row in rows.values())
    assert (rows["a"]["lds"] > 0.98, rows["a"]["p"]) == (True, 1 / 500)
    assert rows["another retraining"]["lds"] > 0.98
    assert abs(rows["b"]["lds"]) < 0.4
    assert rows["random"]["low"] < 0 < rows["random"]["high"]
    (difference,) = judged.differences
    assert (difference["first"], difference["second"]) == ("a", "b")
    assert difference["difference"] == pytest.approx(rows["a"]["lds"] - rows["b"]["lds"])
    assert difference["wide_low"] > 0
    of_a = [row["lds"] for row in judged.images if row["method"] == "a"]
    assert np.mean(of_a) == pytest.approx(rows["a"]["lds"])
    once = replace(inputs, models=[of_subset[:1] for of_subset in models])
    assert [row["method"] for row in subsets_worker.judge_subsets(once, context).subsets] == ["a", "b", "random"]


def test_bad_subsets_are_refused_before_training(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("subsets: 2")
    with pytest.raises(ConfigError, match=r"a rank correlation needs at least 3 subsets; got `subsets` = 2. Use more"):
        load_criteria_config(tmp_path / "bad.yaml", {})
    (tmp_path / "c.yaml").write_text(f"{SMALL}\nsubsets: 3\nkept: 0.001\n")
    refused = royalty("evaluate", "causes", "--config", "c.yaml")
    assert refused.returncode == 1
    assert "a subset has at least one training image; got `kept` = 0.001 of 60" in " ".join(refused.stderr.split())
    assert "generator" not in watch.stages


def test_bad_settings_of_poor_images(tmp_path: Path) -> None:
    for text, told in (
        ("poor: [1.0]", "`poor.0`: .*less than 1"),
        ("poor: [0.2, 0.2]", "each fraction of `poor` is given once; got 0.2, 0.2"),
        ("poor: [0.2]\nquality: none", "`poor` tests the weight of quality, and `quality` is none"),
        ("generators: [ddpm]\nif4gan: {}", "`if4gan` traces the DCGAN, and `generators` are ddpm; add dcgan"),
        ("poor_by: blur", "`poor_by`: .*'noise' or 'early'"),
    ):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ConfigError, match=told):
            load_criteria_config(tmp_path / "bad.yaml", {})


@pytest.mark.slow
def test_a_dcgan_is_traced(context: StageContext) -> None:
    source = keep(context, np.zeros(8))
    (model,) = fit(GeneratorInputs(source, "dcgan", 2, 1, 0), context).models
    inputs = InfluenceInputs(source, model, IF4GANConfig(epochs=2, batch_size=4), 3, 0)
    traced = trace_gan(inputs, context)
    values = load_values(context.artifacts, traced.table)["value"]
    assert values.shape == (8,)
    assert np.isfinite(values).all()
    assert values.nunique() == 8
    assert trace_gan(inputs, context).table == traced.table


@pytest.mark.slow
def test_the_command_times_if4gan(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    small = SMALL.replace("[beta-vae]", "[beta-vae, dcgan]").replace("beta_vae: 6", "beta_vae: 6, dcgan: 4")
    (tmp_path / "c.yaml").write_text(f"{small}\nif4gan: {{batch_size: 61}}\n")
    refused = royalty("evaluate", "efficiency", "--config", "c.yaml")
    assert refused.returncode == 1
    assert "`if4gan.batch_size` is at most the number of training images, 60; got 61" in " ".join(
        refused.stderr.split()
    )
    assert "generator" not in watch.stages
    (tmp_path / "c.yaml").write_text(f"{small}\nif4gan: {{batch_size: 30}}\n")
    done = royalty("evaluate", "efficiency", "--config", "c.yaml", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {row["method"] for row in rows if row["generator"] == "dcgan"} == {
        "gmvaluator, none",
        "gmvaluator, l2",
        "if4gan",
    }


@pytest.mark.slow
def test_causes_of_random_subsets(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(SMALL.replace("single: 3", "subsets: 4"))
    done = royalty("evaluate", "causes", "--config", "c.yaml")
    assert done.returncode == 0, done.stderr
    assert TITLES["subsets"] in done.stdout
    assert TITLES["subset-differences"] in done.stdout
    (table,) = re.findall(r"\S+(?=/causes\.csv)", done.stdout)
    rows = pd.read_csv(Path(table) / "subsets.csv")
    assert rows["method"].tolist() == ["none", "l2", "vae-tracin", "random", "another retraining"]
    assert set(rows["subsets"]) == {4}
    assert set(rows["seeds"]) == {2}
    assert len(pd.read_csv(Path(table) / "subset-differences.csv")) == 3
    assert len(pd.read_csv(Path(table) / "subset-images.csv")) == 3 * 12
    assert watch.stages >= {"remove-items", "judge-causes", "judge-subsets"}


@pytest.mark.slow
def test_commands_show_these_tables(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"{SMALL}\npoor: [0.25, 0.5]\npoor_by: early\nattributes: {{low: ['0', '1']}}\n")
    for criterion, title in (("outliers", "poor-images"), ("attributes", "distances")):
        done = royalty("evaluate", criterion, "--config", "c.yaml")
        assert done.returncode == 0, done.stderr
        assert TITLES[title] in done.stdout
        (table,) = re.findall(rf"\S+(?=/{criterion}\.csv)", done.stdout)
        rows = pd.read_csv(Path(table) / f"{title}.csv")
        assert set(rows["method"]) == {"none", "l2"}
        if criterion == "outliers":
            assert rows["poor"].tolist() == [0.0, 0.0, 0.25, 0.25, 0.5, 0.5]
            assert rows.loc[rows["poor"] > 0, "poor_quality"].notna().all()
    assert watch.stages >= {"spoil-images", "judge-poor-images", "judge-distances"}
