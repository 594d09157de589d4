"""The whole flow on a diffusion model of classes, with attention, guided, sampled by DDIM."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.conftest import SMALL

CONDITIONAL = SMALL.replace(
    "block_channels: [8, 16]",
    "block_channels: [8, 16], attention: [1], conditional: true, guidance: 1.5, flip: true",
).replace("sampling: {", "sampling: {scheduler: ddim, ")

OWN = """
def darkness(images):
    return 255 - images.mean()
"""
"""What digits have and noise has not, so that a minute's generator earns credit."""


def test_a_conditional_generator_is_credited(
    royalty: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "conditional.yaml").write_text(f"{CONDITIONAL}property: own:darkness\n")
    path = {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))}
    done = royalty("run", "--config", "conditional.yaml", "--json", **path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["measured"] == 8
    assert len(result["rows"]) == 3
    report = (Path(result["folder"]) / "report.html").read_text()
    assert "Seconds a step" in report
    assert not list((tmp_path / "home" / "checkpoints").glob("*"))  # the base training is recorded
