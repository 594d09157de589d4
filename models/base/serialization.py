"""Tensors and their description in one safetensors payload, so that a digest covers both."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors.numpy

PIECE = 2**24
"""Bytes of an array held in memory at a time."""

KINDS = {"I64": "<i8", "F64": "<f8", "F32": "<f4", "F16": "<f2", "U8": "|u1", "BOOL": "|b1"}
"""Supported array types by their safetensors names, in the order in which safetensors writes them."""


class ArraySource(Protocol):
    """An array, or an object that computes slices of one on access."""

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


def pack(arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> bytes:
    """Serialize arrays with a JSON description in the header; equal input gives equal bytes."""
    contiguous = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    payload: bytes = safetensors.numpy.save(contiguous, {"description": json.dumps(description, sort_keys=True)})
    return payload


def packed_pieces(arrays: Mapping[str, ArraySource], description: Mapping[str, Any]) -> Iterator[bytes]:
    """The bytes of `pack` in pieces, for arrays that are larger than memory.

    Args:
        arrays: of the types in `KINDS`.
    """
    kinds = {np.dtype(kind): name for name, kind in KINDS.items()}
    ranks = list(kinds)
    header: dict[str, Any] = {"__metadata__": {"description": json.dumps(description, sort_keys=True)}}
    order, end = sorted(arrays, key=lambda name: (ranks.index(arrays[name].dtype), name)), 0
    for name in order:
        array = arrays[name]
        length = math.prod(array.shape) * array.dtype.itemsize
        header[name] = {
            "dtype": kinds[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [end, end + length],
        }
        end += length
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)
    yield len(encoded).to_bytes(8, "little") + encoded
    for name in order:
        array = arrays[name]
        height = max(1, PIECE // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))
        for start in range(0, array.shape[0], height):
            yield np.ascontiguousarray(array[start : start + height]).tobytes()


def unpack(payload: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the description that were packed."""
    return safetensors.numpy.load(payload), description_of(payload)


def open_packed(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Open a packed file; its arrays, of types in `KINDS`, are memory-mapped privately and read on access."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    description: dict[str, Any] = json.loads(header.pop("__metadata__")["description"])
    return {name: _mapped(path, 8 + size, tensor) for name, tensor in header.items()}, description


def _mapped(path: Path, begin: int, tensor: Mapping[str, Any]) -> np.ndarray:
    kind, shape = np.dtype(KINDS[tensor["dtype"]]), tuple(tensor["shape"])
    start, stop = tensor["data_offsets"]
    if start == stop:
        return np.empty(shape, kind)
    return np.asarray(np.memmap(path, kind, "c", offset=begin + start, shape=shape))


def description_of(payload: bytes) -> dict[str, Any]:
    """The description in a payload of `pack`."""
    header_size = int.from_bytes(payload[:8], "little")
    header = json.loads(payload[8 : 8 + header_size])
    description: dict[str, Any] = json.loads(header["__metadata__"]["description"])
    return description
