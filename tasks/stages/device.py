"""Choose the device of this process. Imports only torch, for workers without a diffusion model."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import torch

from royalty.infra.processes.locks import alone


def best_device() -> str:
    """`cuda` if it is available, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """The device as stored results name it: `cpu`, or `cuda` with the name of the GPU, where denoisers draw noise."""
    return f"cuda ({torch.cuda.get_device_name()})" if best_device() == "cuda" else "cpu"


@contextmanager
def one_gpu(locks: Path) -> Iterator[None]:
    """Use the visible GPU that the fewest other processes of this home hold.

    Args:
        locks: folder with the lock files of the home.
    """
    with ExitStack() as held:
        _take(locks, torch.cuda.device_count(), held)
        yield


def _take(locks: Path, gpus: int, held: ExitStack) -> None:
    for turn in count() if gpus else ():
        for index in range(gpus):
            if held.enter_context(alone(locks / f"gpu-{platform.node()}-{index}-{turn}", wait=False)):
                torch.cuda.set_device(index)
                return
