"""The benchmarks for a GPU run without one, so that a machine that has one is not needed to find their mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import bfloat16_utilities, gpu_check, gpu_speed

PARTS = "network, cifar20, loras, sava, faiss, compiled, digits, transport"


@pytest.mark.slow
def test_every_part_runs_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    gpu_speed.main(["--device", "cpu", "--small", "--minutes", "100"])
    printed = capsys.readouterr().out
    assert "left out: nothing" in printed
    for line in ("bfloat16", "a coalition", "a run", "LoRA, kept latents", "several at once", "the rule takes", "lava"):
        assert line in printed


def test_nothing_begins_after_the_time_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    gpu_speed.main(["--device", "cpu", "--small", "--minutes", "0"])
    assert f"left out: {PARTS};" in capsys.readouterr().out


def test_a_part_that_fails_leaves_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []

    def fail() -> None:
        raise RuntimeError("no such kernel")

    parts = [("first", fail), ("second", lambda: done.append("second"))]
    assert gpu_speed.in_turn(parts, 60) == ["first (failed)"]
    assert done == ["second"]
    assert "no such kernel" in capsys.readouterr().err


def test_the_commands_of_the_check_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)  # which the product sets for its own processes
    for command in gpu_check.commands(10).values():
        place = next((at for at, word in enumerate(command) if word.startswith("--")), len(command))
        helped = subprocess.run([*command[:place], "--help"], capture_output=True, text=True, check=False)
        assert helped.returncode == 0, helped.stderr
        for option in (word for word in command if word.startswith("--")):
            assert option in helped.stdout


def test_a_command_ends_or_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_check.run([sys.executable, "-c", "raise SystemExit(3)"], 60) == "ended with 3"
    assert gpu_check.run([sys.executable, "-c", "import time; time.sleep(600)"], 1) == "was stopped"


def test_utilities_agree_within_what_the_seed_makes_of_them() -> None:
    rng = np.random.default_rng(0)
    single = rng.normal(5, 0.2, (3, 12))
    close = bfloat16_utilities.compared(single, single + rng.normal(0, 0.1, (3, 12)))
    assert close["stderr"] == pytest.approx(0.2, abs=0.06)
    assert bfloat16_utilities.agree(close)
    assert not bfloat16_utilities.agree(bfloat16_utilities.compared(single, single + 0.1))
    assert not bfloat16_utilities.agree(bfloat16_utilities.compared(single, rng.normal(5, 0.9, (3, 12))))
