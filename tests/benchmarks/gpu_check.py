"""All checks that need a GPU, in one command: at most half an hour.

    python -m tests.benchmarks.gpu_check [--minutes 10]

In turn, each for at most so many minutes: `gpu_speed`; the preset `openmoji`; and its LDS, as far as it comes. The last
two keep what they finished in `ROYALTY_HOME`, so that another call goes on. Install `royalty[openmoji,hub]` and a
build of PyTorch for CUDA before.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

GRACE = 60
"""Seconds that a command has to end after it was told to."""


def commands(minutes: float) -> dict[str, list[str]]:
    """The commands by name."""
    royalty = [str(Path(sys.executable).with_name("royalty"))]
    return {
        "speed": [sys.executable, "-m", "tests.benchmarks.gpu_speed", "--minutes", str(minutes)],
        "openmoji": [*royalty, "run", "--preset", "openmoji"],
        "openmoji, LDS": [*royalty, "evaluate", "lds", "--preset", "openmoji"],
    }


def run(command: list[str], seconds: float) -> str:
    """Run a command, and stop it after so many seconds; returns how it ended."""
    process = subprocess.Popen(command)
    try:
        return f"ended with {process.wait(seconds)}"
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return "was stopped"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    for name, command in commands(minutes).items():
        began = time.monotonic()
        ending = run(command, 60 * minutes)
        print(f"{name}: {ending} after {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
