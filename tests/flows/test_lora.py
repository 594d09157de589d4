"""A LoRA of a Stable Diffusion pipeline through the whole flow, on captioned images."""

from __future__ import annotations

import json
import re
import sqlite3
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from royalty.models.base.serialization import unpack
from royalty.models.generators.pipelines import digest_of_pipeline
from royalty.models.generators.small_pipeline import save_small_pipeline
from tests.conftest import FOLDER, Run, save_digits
from tests.drawn import openmoji_archive
from tests.watching import Watch


@pytest.mark.slow
def test_a_lora_is_credited_from_its_captions(watch: Watch, royalty: Run, tmp_path: Path) -> None:
    save_digits(tmp_path / "images", ["ann", "ben", "cem"] * 24)
    metadata = tmp_path / "images" / "metadata.csv"
    head, *rows = metadata.read_text(encoding="utf-8").splitlines()
    captioned = [f"{head},text", *(f"{row},a {'seven' if index % 2 else 'one'}" for index, row in enumerate(rows))]
    save_small_pipeline(tmp_path / "base", side=8, seed=0)
    config = yaml.safe_load(FOLDER) | {
        "generator": {"kind": "lora", "base": "./base", "rank": 4, "steps": 4, "batch_size": 8, "guidance": 1.0}
    }
    config["coalitions"] |= {"count": 4, "finetune_steps": 2, "batch_size": 8}
    config["sampling"] = {"images": 16, "steps": 2}
    (tmp_path / "lora.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    refused = royalty("run", "--config", "lora.yaml")
    assert refused.returncode == 1
    assert "text" in refused.stderr
    assert "Traceback" not in refused.stderr

    metadata.write_text("\n".join(captioned), encoding="utf-8")
    bad = yaml.safe_dump(config | {"generator": config["generator"] | {"targets": ["to_z"]}})
    (tmp_path / "bad.yaml").write_text(bad, encoding="utf-8")
    refused = royalty("run", "--config", "bad.yaml", "--name", "lora")
    assert refused.returncode == 1
    assert "the LoRA target 'to_z' matches no layer" in refused.stderr
    assert "Traceback" not in refused.stderr
    with sqlite3.connect(tmp_path / "home" / "royalty.db") as database:
        assert {name for (name,) in database.execute("select name from stages")} == {"ingest"}  # nothing was trained

    done = royalty("run", "--config", "lora.yaml", "--json")
    # A base of random weights may well leave nobody with credit to pay; all but the payout is done then.
    assert done.returncode == 0 or "nothing was paid" in done.stderr, done.stderr
    table = pd.read_parquet(tmp_path / "home" / "runs" / "lora" / "credit.parquet")
    assert set(table["contributor"]) == {"ann", "ben", "cem"}
    ranks = set()
    for payload in (file.read_bytes() for file in (tmp_path / "home" / "artifacts").rglob("*") if file.is_file()):
        if payload[8:9] == b"{" and (b'"lora' in payload[:4000] or b"lora_A" in payload[:4000]):  # of safetensors
            _, described = unpack(payload)
            assert described["base_digest"] == digest_of_pipeline(tmp_path / "base")
            ranks.add(described["rank"])
    assert ranks == {4, 2}
    assert watch.stages >= {"try-base", "train", "coalition", "utility"}


@pytest.mark.slow
def test_emoji_are_generated_by_their_captions(royalty: Run, tmp_path: Path) -> None:
    rows = [
        (f"1F{number:03X}", "signs" if number % 2 else "faces", f"{author} {number}", author, "2019-06-01", "")
        for number, author in enumerate(["Ada", "Bo", "Cy"] * 24)
    ]
    openmoji_archive(tmp_path / "openmoji.tgz", rows)
    save_small_pipeline(tmp_path / "base", side=8, seed=0)
    config = yaml.safe_load(FOLDER) | {
        "data": {"source": "openmoji", "path": "openmoji.tgz", "size": 8, "least": 8},
        "generator": {"kind": "lora", "base": "./base", "rank": 4, "steps": 4, "batch_size": 8, "guidance": 1.0},
        "sampling": {"images": 16, "steps": 2},
    }
    config["coalitions"] |= {"count": 4, "finetune_steps": 2, "batch_size": 8}
    (tmp_path / "emoji.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    done = royalty("run", "--config", "emoji.yaml", "--name", "emoji", "--json")
    # A base of random weights may well leave nobody with credit to pay; all but the payout is done then.
    assert done.returncode == 0 or "nothing was paid" in done.stderr, done.stderr
    report = (tmp_path / "home" / "runs" / "emoji" / "report.html").read_text(encoding="utf-8")
    assert re.search(r"Generated for <strong><bdi>(Ada|Bo|Cy) \d+</bdi>", report)


@pytest.mark.slow
def test_a_small_stable_diffusion_is_trained_and_a_lora_of_it_credited(
    watch: Watch, royalty: Run, tmp_path: Path
) -> None:
    # The preset `tiny-lora`, as far as it can be trained within seconds.
    config = yaml.safe_load(files("royalty.flows").joinpath("presets", "tiny-lora.yaml").read_text(encoding="utf-8"))
    config["data"] |= {"digits": [7, 9], "held_out": {"validation": 0.4, "classifier": 0.4}}
    config["classifier"] = {"steps": 20}
    config["generator"] |= {"steps": 4, "batch_size": 8, "rank": 4}
    config["generator"]["base"] |= {"digits": [0, 1], "autoencoder_steps": 4, "denoiser_steps": 6, "batch_size": 8}
    config["sampling"] |= {"images": 16, "steps": 2}
    config["pruning"]["recovery_steps"] = 2
    config["coalitions"] |= {"count": 2, "finetune_steps": 2, "batch_size": 8}
    config["matching"]["images"] = 8
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    done = royalty("run", "--config", "tiny.yaml")
    # After a few steps nobody may well have credit to pay; all but the payout is done then.
    assert done.returncode == 0 or "nothing was paid" in done.stderr, done.stderr
    table = pd.read_parquet(tmp_path / "home" / "runs" / "tiny-lora" / "credit.parquet")
    assert set(table["contributor"]) == {"seven", "nine"}

    (base,) = (tmp_path / "home" / "weights").glob("trained--*")
    pipeline = StableDiffusionPipeline.from_pretrained(base)
    adapters = []
    for file in (file for file in (tmp_path / "home" / "artifacts").rglob("*") if file.is_file()):
        payload = file.read_bytes()
        if b"lora_A" in payload[:100_000]:
            _, described = unpack(payload)
            assert described["base_digest"] == digest_of_pipeline(base)
            adapters.append((described["rank"], payload))
    assert {rank for rank, _ in adapters} == {4, 2}
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(max(adapters)[1])
    pipeline.load_lora_weights(str(tmp_path))
    noise = torch.Generator().manual_seed(0)
    made = pipeline("a seven", height=32, width=32, num_inference_steps=2, generator=noise, output_type="np").images
    assert made.shape == (1, 32, 32, 3)
    assert np.isfinite(made).all()

    traced = royalty("trace", "tiny-lora", "--json")
    assert "Pipeline under the base model" in {step["title"] for step in json.loads(traced.stdout)["steps"]}, (
        traced.stderr
    )

    again = royalty("run", "--config", "tiny.yaml", "--name", "another")
    assert "Train base pipeline" not in again.stderr + again.stdout
    assert "0 measured" in again.stdout or "nothing was paid" in again.stderr
    assert watch.stages >= {"base", "train", "coalition"}
