"""What the keys of the papers' tables cover: all code that a stage runs, and none of other stages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from royalty.infra.stores.keys import modules_run_by

WORKERS = {
    "detection_worker": (
        {"models.encoders.preact_resnet", "models.valuation.sava", "models.data.corruptions"},
        ("models.generators", "models.payout", "models.quality", "tasks.credit"),
    ),
    "digits_worker": (set(), ("models.encoders", "models.generators", "models.valuation.lava")),
    "training_sets_worker": ({"models.data.corruptions"}, ("models.generators", "models.encoders", "models.payout")),
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
        {"models.valuation.vae_tracin", "models.valuation.gmvaluator", "models.distances.lpips"},
        ("models.generators.denoiser", "models.payout", "models.valuation.sava"),
    ),
}
"""By worker, modules that it runs, and the beginnings of names of modules that it does not."""


@pytest.mark.parametrize("worker", WORKERS)
def test_a_key_covers_what_its_worker_runs_and_no_more(worker: str) -> None:
    run, others = WORKERS[worker]
    covered = {name.removeprefix("royalty.") for name in modules_run_by(f"royalty.tasks.benchmarks.{worker}")}
    assert run <= covered
    assert not {name for name in covered if name.startswith(others)}


def test_flows_and_stages_of_the_papers_tables_import_no_torch() -> None:
    modules = ["royalty.flows.criteria", "royalty.flows.detection", "royalty.tasks.judge.stages"]
    script = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    script += "assert not {'torch', 'mlflow'} & set(sys.modules), {'torch', 'mlflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
