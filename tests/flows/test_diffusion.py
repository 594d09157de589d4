"""The whole flow on a diffusion model of classes, with attention, guided, by DDIM; on a GAN; on latent diffusion."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from diffusers import LDMPipeline

from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.generators.generator import Resources
from royalty.models.generators.registry import load_generator
from tests.autoencoder import save_autoencoder
from tests.conftest import SMALL, Run
from tests.watching import Watch

CONDITIONAL = SMALL.replace(
    "block_channels: [8, 16]",
    "block_channels: [8, 16], attention: [1], conditional: true, guidance: 1.5, flip: true",
).replace("sampling: {", "sampling: {scheduler: ddim, ")

OWN = """
def darkness(images):
    return 255 - images.mean()
"""
"""What digits have and noise has not, so that a minute's generator earns credit."""


@pytest.mark.slow
def test_a_conditional_generator_is_credited(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "conditional.yaml").write_text(f"{CONDITIONAL}property: own:darkness\n")
    path = {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))}
    done = royalty("run", "--config", "conditional.yaml", "--json", **path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["measured"] == 8
    assert len(result["rows"]) == 3
    report = (Path(result["folder"]) / "report.html").read_text()
    assert "Seconds per step" in report
    assert not list((tmp_path / "home" / "checkpoints").glob("*"))  # the base training is recorded
    assert watch.stages >= {"train", "coalition", "utility"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dcgan", "beta-vae"])
def test_a_generator_without_diffusion_is_credited(watch: Watch, royalty: Run, tmp_path: Path, kind: str) -> None:
    (tmp_path / "own.py").write_text(OWN)
    path = {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))}
    own = SMALL.replace(
        "steps: 60, batch_size: 32, block_channels: [8, 16]", f"kind: {kind}, steps: 60, batch_size: 32"
    )
    (tmp_path / "other.yaml").write_text(f"{own}property: own:darkness\n")
    done = royalty("run", "--config", "other.yaml", "--json", **path)
    assert done.returncode == 0 or "nothing was paid" in done.stderr, done.stderr
    table = pd.read_parquet(tmp_path / "home" / "runs" / "other" / "credit.parquet")
    assert len(table) == 3
    assert table["credit"].abs().sum() > 0
    assert watch.stages >= {"train", "coalition", "utility"}


@pytest.mark.slow
def test_latent_diffusion_is_credited_and_plain_diffusers_loads_it(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    path = {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))}
    latent = SMALL.replace("generator: {", "generator: {kind: latent, base: ./base, objective: noise, ")
    (tmp_path / "latent.yaml").write_text(f"{latent}property: own:darkness\n")
    refused = royalty("run", "--config", "latent.yaml", **path)
    assert refused.returncode == 1
    assert "there is no folder" in refused.stderr

    base = save_autoencoder(tmp_path / "base", "VQModel")
    done = royalty("run", "--config", "latent.yaml", "--json", **path)
    # An autoencoder of random weights may well leave nobody with credit to pay; all but the payout is done then.
    assert done.returncode == 0 or "nothing was paid" in done.stderr, done.stderr
    credited = pd.read_parquet(tmp_path / "home" / "runs" / "latent" / "credit.parquet")
    assert len(credited) == 3
    with closing(sqlite3.connect(tmp_path / "home" / "royalty.db")) as database:
        (outputs,) = database.execute("select outputs from stages where name = 'train'").fetchone()
    payload = ArtifactStore(tmp_path / "home" / "artifacts").get(json.loads(outputs)["model"])
    load_generator(payload, Resources(weights=lambda _: base)).export(tmp_path / "exported")
    pipeline = LDMPipeline.from_pretrained(tmp_path / "exported")
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(batch_size=2, num_inference_steps=2, output_type="np").images
    assert made.shape == (2, 8, 8, 3)
    assert np.isfinite(made).all()
    assert watch.stages >= {"train", "coalition", "utility"}
