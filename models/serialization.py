"""Tensors and their description in one safetensors payload, so that a digest covers both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy


def pack(arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> bytes:
    """Serialize arrays with a JSON description in the header; equal input gives equal bytes."""
    contiguous = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    payload: bytes = safetensors.numpy.save(contiguous, {"description": json.dumps(description, sort_keys=True)})
    return payload


def unpack(payload: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the description that `pack` was given."""
    return safetensors.numpy.load(payload), description_of(payload)


def description_of(payload: bytes) -> dict[str, Any]:
    """The description that `pack` was given."""
    header_size = int.from_bytes(payload[:8], "little")
    header = json.loads(payload[8 : 8 + header_size])
    description: dict[str, Any] = json.loads(header["__metadata__"]["description"])
    return description
