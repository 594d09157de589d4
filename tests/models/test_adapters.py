"""Values are those of the product where opendataval and pyDVL ask for them, in an environment that has both."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.peer_environment import make_peers


@pytest.mark.slow
def test_values_are_those_of_the_product_in_opendataval_and_pydvl(tmp_path: Path) -> None:
    python = make_peers(tmp_path / "peers")
    script = Path(__file__).with_name("adapters_check.py")
    done = subprocess.run([python, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("adapters hold\n")
