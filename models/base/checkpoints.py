"""Networks that others trained: read without running what a file holds, and named by what they learned."""

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
        InputError: it is missing, damaged, or holds more than tensors and plain containers.
    """
    try:
        state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"a folder of weights holds {path.name}, and {path.parent} does not; fetch it anew") from error
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError) as error:
        raise InputError(
            f"{path} is damaged, or holds more than tensors, which is never run; delete its folder and fetch it anew"
        ) from error
    return state


def load_exactly(net: nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Load a state, by whose names and shapes the net must have exactly these weights.

    Raises:
        InputError: it has others; the first of them is named.
    """
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise InputError(f"{path} holds weights of another network: {first} Delete its folder and fetch it") from error


def weights_digest(net: nn.Module, described: str = "") -> str:
    """16 hex digits that stand for a net: its layers as printed, its weights, and what neither shows."""
    digest = hashlib.sha256(f"{described}\n{net}".encode())
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


@contextmanager
def hub_extra() -> Iterator[None]:
    """Around the import of a package that only those need who value with it.

    Raises:
        InputError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"this takes the package {error.name}, which is missing; install royalty[hub]") from error
