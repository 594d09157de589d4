"""Pretrained networks: read checkpoints without running code from them, and identify networks by their weights."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from royalty.models.base.errors import InputError


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """The tensors of a pickled checkpoint, on the CPU; nothing else in the file is unpickled.

    Raises:
        InputError: the file is missing, damaged, or contains objects other than tensors and plain containers.
    """
    try:
        state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path.name} is missing in the folder of weights {path.parent}; fetch them again") from error
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError) as error:
        raise InputError(
            f"{path} is damaged, or contains objects other than tensors, which are never loaded; delete its folder and "
            "fetch it again"
        ) from error
    return state


def load_exactly(net: nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Load a state dictionary whose names and shapes match the weights of the network exactly.

    Raises:
        InputError: they differ; the message names the first difference.
    """
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        difference = str(error).splitlines()[1].strip()
        raise InputError(
            f"{path} has the weights of another network: {difference} Delete its folder and fetch it again"
        ) from error


def weights_digest(net: nn.Module, described: str = "") -> str:
    """16 hex digits that identify a network: a digest of its printed layers, its weights and `described`.

    Args:
        described: what neither layers nor weights show, such as the number of attention heads.
    """
    digest = hashlib.sha256(f"{described}\n{net}".encode())
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


@contextmanager
def hub_extra() -> Iterator[None]:
    """Guard imports of optional packages, which the extra `hub` installs.

    Raises:
        InputError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"the package {error.name} is required and not installed; install royalty[hub]") from error
