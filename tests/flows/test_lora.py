"""A LoRA of a Stable Diffusion pipeline through the whole flow, on captioned images."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import yaml

from models.generators.pipelines import digest_of_pipeline
from models.generators.small_pipeline import save_small_pipeline
from models.serialization import unpack
from tests.conftest import FOLDER, save_digits


def test_a_lora_is_credited_from_its_captions(
    royalty: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
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
    done = royalty("run", "--config", "lora.yaml", "--json")
    # A base of random weights may well leave nobody with credit to pay; all but the payout is done then.
    assert done.returncode == 0 or "nothing was paid" in done.stderr, done.stderr
    table = pd.read_parquet(tmp_path / "home" / "runs" / "lora" / "credit.parquet")
    assert set(table["contributor"]) == {"ann", "ben", "cem"}
    ranks = set()
    for payload in (file.read_bytes() for file in (tmp_path / "home" / "artifacts").rglob("*") if file.is_file()):
        if b'"lora' in payload[:4000] or b"lora_A" in payload[:4000]:
            _, described = unpack(payload)
            assert described["base_digest"] == digest_of_pipeline(tmp_path / "base")
            ranks.add(described["rank"])
    assert ranks == {4, 2}
