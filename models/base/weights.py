"""Where the learned weights of a name are; importing this file does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from royalty.models.base.errors import InputError

Weights = Callable[[str], Path]
"""The folder that holds the weights of a name; raises an error that says how to fetch them if they are missing."""


def no_weights(name: str) -> Path:
    """The `Weights` of who has none.

    Raises:
        InputError: always.
    """
    raise InputError(f"{name} needs weights, and `weights` was not given; pass it, or choose a network without weights")
