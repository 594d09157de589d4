"""The whole flow on a diffusion model as papers have it: of classes, with attention, guided, sampled by DDIM."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.conftest import SMALL

CONDITIONAL = SMALL.replace(
    "block_channels: [8, 16]",
    "block_channels: [8, 16], attention: [1], objective: noise, conditional: true, guidance: 1.5, flip: true",
).replace("sampling: {", "sampling: {scheduler: ddim, ")


def test_a_conditional_generator_is_credited(
    royalty: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    config = tmp_path / "conditional.yaml"
    config.write_text(CONDITIONAL)
    done = royalty("run", "--config", str(config), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["measured"] == 8
    assert len(result["rows"]) == 4
    report = (Path(result["folder"]) / "report.html").read_text()
    assert "Seconds a step" in report
    assert not list((tmp_path / "home" / "checkpoints").glob("*"))  # the base training is recorded
