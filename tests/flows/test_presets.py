"""Every preset, down to its net on the meta device; and the list of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from royalty.flows.cli.configuration import load_config, place_of_preset, preset_names
from royalty.tasks.credit.expected import expected

MILLIONS = {"cifar20": 35.7, "celeba-hq": 274.1, "artbench": 51.0}
"""Parameters of the sparsified fine-tuning paper's models. It says 5.1 of the LoRA: rank 256 on the four projections of
all attention of Stable Diffusion 1 has ten times as many."""


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_can_be_built(preset: str, tmp_path: Path) -> None:
    place = place_of_preset(preset)
    config = load_config(file=None, preset=preset, name=None, data=tmp_path if place else None)
    assert config.name == preset
    outline, budget = expected(config).outline, expected(config).budget
    assert outline.parameters / 1e6 == pytest.approx(MILLIONS.get(preset, outline.parameters / 1e6), abs=0.1)
    assert 0 < budget.coalition_minutes / 60 * config.coalitions.count < budget.hours
    assert budget.gigabytes > 20e-9 * outline.parameters


def test_the_list_says_what_each_takes(royalty: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = royalty("presets", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert sorted(rows) == preset_names()
    assert rows["digits"]["data"] is None
    assert "cifar-100-python.tar.gz" in rows["cifar20"]["data"]
    # The paper measured 4.4 minutes of training and 14.0 of sampling a coalition.
    assert rows["cifar20"]["budget"]["coalition_minutes"] == pytest.approx(18.4, rel=0.3)
    missing = royalty("run", "--preset", "cifar20")
    assert missing.returncode == 1
    assert "give `--data PATH`, the archive cifar-100-python.tar.gz" in missing.stderr
