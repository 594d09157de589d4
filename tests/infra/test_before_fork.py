"""On a machine with a GPU, the process that workers are forked from does not start CUDA."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Its name is the first of those that are preloaded.
PRETENDED = """
import torch

def started():
    raise RuntimeError("CUDA was started")

torch.cuda._is_compiled = lambda: True
torch.cuda._device_count_nvml = lambda: 1
torch._C._cuda_getDeviceCount = started

def ask(report):
    return torch.cuda.is_available()
"""
ASK = """
import sys
from royalty.infra.processes.workers import Reference, run_in_process

if __name__ == "__main__":
    print(run_in_process(Reference("a_gpu", "ask"), advance=print, modules=sys.argv[1:]))
"""


@pytest.mark.slow
def test_no_import_of_a_worker_starts_cuda(tmp_path: Path) -> None:
    (tmp_path / "a_gpu.py").write_text(PRETENDED)
    (tmp_path / "ask.py").write_text(ASK)
    files = sorted((ROOT / "tasks").rglob("*_worker.py"))
    modules = [".".join(["royalty", *file.relative_to(ROOT).with_suffix("").parts]) for file in files]
    assert len(modules) > 20
    done = subprocess.run(
        [sys.executable, "ask.py", *modules],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
