"""What the keys of the papers' tables cover, and that records of earlier versions are read as they were written."""

from __future__ import annotations

import subprocess
import sys

import pytest

from royalty.infra.stores.keys import modules_run_by
from royalty.infra.stores.runstore import StageRecord
from royalty.tasks.benchmarks.criterion_stages import EFFICIENCY, MEMBERSHIP, Judged
from royalty.tasks.benchmarks.detection_stages import DETECT, DIGITS
from royalty.tasks.benchmarks.generator_stages import HALVE
from royalty.tasks.config.criteria import CriteriaConfig
from royalty.tasks.config.detection import DetectionConfig
from royalty.tasks.judge.stages import LDS
from royalty.tasks.stages.stage import as_json

WORKERS = {
    "detection_worker": (
        {"models.encoders.preact_resnet", "models.valuation.sava", "models.data.corruptions"},
        ("models.generators", "models.payout", "models.quality", "tasks.credit"),
    ),
    "validation_worker": (
        {"models.encoders.preact_resnet", "models.valuation.sava", "models.judging.sets"},
        ("models.generators", "models.payout", "models.quality", "tasks.credit"),
    ),
    "distance_curve_worker": (
        {"models.valuation.set_distance", "models.data.corruptions"},
        ("models.generators", "models.payout", "models.quality", "tasks.credit"),
    ),
    "digits_worker": (set(), ("models.encoders", "models.generators", "models.valuation.lava")),
    "training_sets_worker": ({"models.data.corruptions"}, ("models.generators", "models.encoders", "models.payout")),
    "causes_worker": (
        {"models.judging.causes", "models.generators.beta_vae"},
        ("models.encoders", "models.valuation", "models.payout", "models.generators.denoiser"),
    ),
    "subsets_worker": (
        {"models.judging.image_lds", "models.generators.beta_vae"},
        ("models.encoders", "models.valuation", "models.payout", "models.generators.denoiser"),
    ),
    "contributors_worker": ({"models.judging.contributors"}, ("models.generators", "models.encoders", "models.payout")),
    "influence_worker": (
        {"models.valuation.gan_influence", "tasks.config.if4gan"},
        ("models.encoders", "models.payout", "models.generators.denoiser"),
    ),
    "halves_worker": ({"models.encoders.efficientnet"}, ("models.generators", "models.payout", "models.distances")),
    "generators_worker": (
        {f"models.generators.{kind}" for kind in ("beta_vae", "dcgan", "ddpm")},
        ("models.encoders", "models.valuation", "models.payout"),
    ),
    "classes_worker": ({"models.properties.classifier"}, ("models.generators", "models.encoders", "models.valuation")),
    "tracin_worker": (
        {"models.valuation.vae_tracin", "models.generators.beta_vae"},
        ("models.generators.denoiser", "models.generators.dcgan", "models.encoders"),
    ),
    "criteria_worker": ({"models.judging.criteria"}, ("models.generators", "models.encoders", "models.valuation")),
    "efficiency_worker": (
        {f"models.valuation.{method}" for method in ("vae_tracin", "gmvaluator", "gan_influence")},
        ("models.generators.denoiser", "models.payout", "models.valuation.sava"),
    ),
}
"""By worker, modules that it runs, and the beginnings of names of modules that it does not."""


@pytest.mark.parametrize("worker", WORKERS)
def test_a_key_covers_what_its_worker_runs_and_no_more(worker: str) -> None:
    run, others = WORKERS[worker]
    covered = {name.removeprefix("royalty.") for name in modules_run_by(f"royalty.tasks.benchmarks.{worker}")}
    assert run <= covered
    # Registries only list names, by which a configuration is checked; what they name is loaded by those who choose it.
    assert not {name for name in covered if name.startswith(others) and not name.endswith(".registry")}
    assert "tasks.config.criteria_settings" not in covered  # a new setting there repeats no training


def test_flows_and_stages_of_the_papers_tables_import_no_torch() -> None:
    modules = ["royalty.flows.criteria", "royalty.flows.detection", "royalty.tasks.judge.stages"]
    script = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    script += "assert not {'torch', 'mlflow'} & set(sys.modules), {'torch', 'mlflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_records_of_earlier_versions_are_read() -> None:
    """As they were kept: dictionaries of these names."""
    config = DetectionConfig(validation={}).settings.model_dump(mode="json")
    inputs = {"corruption": "noise", "config": config, "sides": {"train": "t", "val": "v"}}
    outputs = {"rows": [{"auroc": 0.5}], "curves": {"lava": [0.5, 1.0]}, "accuracy": [], "busy_seconds": 1.0}
    detected = DETECT.finished(StageRecord("detect", "k", inputs, outputs, 1.0))
    assert (detected.inputs.config, detected.inputs.sides.val) == (DetectionConfig().settings, "v")
    assert as_json(detected.inputs) == {**inputs, "draw": 0}
    timed = {"rerank", "encoder", "quality", "temperature", "ks", "tracin"}
    methods = CriteriaConfig().model_dump(mode="json", include=timed)
    inputs = {"config": methods, "seed": 0, "digests": ["i", "m", ["c"]]}
    efficiency = EFFICIENCY.finished(StageRecord("time-methods", "k", inputs, {"efficiency": []}, 1.0))
    assert as_json(efficiency.inputs) == {**inputs, "config": {**methods, "resolution": None}, "gan": None}
    judged = dict.fromkeys(("generator", "method", "made", "table", "contributions", "uncalibrated"), "x")
    inputs = {"judged": [judged], "trained": [0], "held_out": [1]}
    membership = MEMBERSHIP.finished(
        StageRecord("judge-membership", "k", inputs, {"membership": [], "values": {"a": [1.0]}}, 1.0)
    )
    assert membership.inputs.judged == [Judged(*["x"] * 6)]
    items = {"items": "d", "count": 2, "shape": [1, 8, 8], "labelled": True, "attributes": []}
    digits = DIGITS.finished(StageRecord("read-digits", "k", {}, {"train": items, "val": items}, 1.0))
    assert digits.outputs.val.items == "d"
    halves = {**items, "trained": [0], "held_out": [1], "label": "a"}
    halved = HALVE.finished(StageRecord("halve-class", "k", {"items": "d", "label": None, "seed": 0}, halves, 1.0))
    assert as_json(halved.outputs) == halves
    inputs = {"credits": [["m", 3, [0.5, 1.0]], ["fitted", 2, [[0.5, 1.0]]]], "held_out": ["k"]}
    scored = LDS.finished(StageRecord("lds", "k", inputs, {"table": "d", "rows": [{"bias": float("nan")}]}, 1.0))
    assert as_json(scored.inputs) == {**inputs, "nulls": [], "alphas": [], "planted": [], "seed": 0}
