"""`royalty tune` through the installed command line, and what it refuses."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from royalty.models.base.errors import InputError
from royalty.models.valuation.coalitions import sample_coalitions
from royalty.tasks.config.credit import CreditConfig
from royalty.tasks.judge.tuning import Candidate, candidates, check_tuning, finest
from tests.conftest import Run
from tests.watching import Watch

TINY = """
data: {source: digits, contributors: 5, concentration: 1.0}
classifier: {steps: 30}
generator: {steps: 4, batch_size: 16, block_channels: [8, 16]}
sampling: {images: 64, steps: 3}
pruning: {recovery_steps: 2}
coalitions: {finetune_steps: 2, batch_size: 16, count: 14}
matching: {encoder: pixels, images: 8}
tuning: {retrain: 8, finetune_steps: [1, 3], ratio: [0.3, 0.6], images: [16, 32]}
"""


@pytest.mark.slow
def test_settings_are_compared_and_a_run_reuses_the_models(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = royalty("tune", "--config", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stderr
    tuned = json.loads(done.stdout)
    assert tuned["coalitions"] == 8
    assert len(tuned["rows"]) == 2 * 2 * 2
    assert sum(row["chosen"] for row in tuned["rows"]) == (min(row["error"] for row in tuned["rows"]) < 1)
    assert all(row["error"] > 0 and row["seconds"] > 0 for row in tuned["rows"])
    table = list(csv.DictReader((Path(tuned["folder"]) / "tuning.csv").open()))
    assert [row["images"] for row in table] == [str(row["images"]) for row in tuned["rows"]]
    assert watch.stages >= {"tune", "coalition", "utility"}

    database = tmp_path / "home" / "royalty.db"
    with sqlite3.connect(database) as kept:
        models = dict(kept.execute("select method, count(*) from coalition_models group by method"))
    assert models == {"retrain": 8, "sparsified": 2 * 2 * 8}, "numbers of images share models"
    chosen = "tiny.yaml", "--name", "chosen"
    text = TINY.replace("finetune_steps: 2", "finetune_steps: 3").replace("images: 64", "images: 32")
    (tmp_path / "tiny.yaml").write_text(text + "fidelity: {retrain: 8}\n")
    done = royalty("run", "--config", *chosen, "--json")
    assert done.returncode == 0 or "nothing was paid" in done.stderr, done.stderr
    with sqlite3.connect(database) as kept:
        after = dict(kept.execute("select method, count(*) from coalition_models group by method"))
    assert after["retrain"] == 8 + 2, "the ends are measured for a correction, and the rest is there"
    assert after["sparsified"] == models["sparsified"] + 16 - 8


def test_without_lists_the_configured_numbers_are_varied() -> None:
    config = CreditConfig()
    every = candidates(config)
    assert len(every) == 3 * 3
    assert {each.finetune_steps for each in every} == {35, 70, 210}
    assert {each.images for each in every} == {256, 512, 1024}
    assert Candidate(70, config.pruning.ratio, 1024, config.sampling.steps).of(config) == config
    few = CreditConfig.model_validate({"sampling": {"images": 20}, "coalitions": {"finetune_steps": 1}})
    assert {(each.finetune_steps, each.images) for each in candidates(few)} == {
        (steps, images) for steps in (1, 3) for images in (16, 20)
    }


def test_retrained_models_are_measured_by_the_most_images_and_steps() -> None:
    config = CreditConfig.model_validate({"tuning": {"images": [64, 2048], "steps": [3, 9]}})
    sampling = finest(config).sampling
    assert (sampling.images, sampling.steps) == (2048, 9)


def test_coalitions_to_retrain_are_drawn_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[np.ndarray] = []

    def choose(masks: np.ndarray, count: int, *, seed: int) -> np.ndarray:
        drawn.append(masks)
        raise InputError(f"no {count} of {len(masks)} were found with seed {seed}")

    monkeypatch.setattr("royalty.tasks.judge.tuning.choose_retrained", choose)
    with pytest.raises(InputError, match=r"`tuning\.retrain`: no 12 of 62 were found with seed 0"):
        check_tuning([f"c{number}" for number in range(12)], CreditConfig())
    assert (drawn[0] == sample_coalitions(12, 62, seed=0)).all(), "those of a run"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"coalitions": {"method": "pooled"}}, "`coalitions.method`: .* got pooled"),
        ({"coalitions": {"method": "finetune"}, "tuning": {"ratio": [0.5]}}, "`tuning.ratio`: .* got .0.5."),
        ({"sampling": {"stderr": 0.1}}, "`sampling.stderr`: .* got 0.1"),
        ({"tuning": {"retrain": 100}}, "`tuning.retrain` is at most `coalitions.count`, which is 62; got 100"),
        ({"coalitions": {"units": "images"}}, "`coalitions.units`"),
    ],
)
def test_what_cannot_be_compared_is_refused(changed: dict[str, object], message: str) -> None:
    names = [f"c{number}" for number in range(12)]
    with pytest.raises(InputError, match=message):
        check_tuning(names, CreditConfig.model_validate(changed))
