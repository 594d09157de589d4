"""An image set in a file that is written piece by piece and read by memory map: it may be larger than memory."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models.data.items import ImageSet

PIECE = 2**24
"""Bytes that are in memory at a time."""

KINDS: dict[str, np.dtype] = {"I64": np.dtype("<i8"), "U8": np.dtype("u1"), "BOOL": np.dtype("?")}


def set_pieces(part: ImageSet, squares: np.ndarray) -> Iterator[bytes]:
    """The bytes of a set, as `ImageSet.to_bytes` makes them, without holding them.

    Args:
        part: `images` are places in `squares`, int64, `(items,)`.
        squares: uint8, `(images, channels, height, width)`, of which the set has some.
    """
    places = part.images
    shape = (len(places), *squares.shape[1:])
    yield _header(part, shape)
    yield np.ascontiguousarray(part.labels).tobytes()
    rows = max(1, PIECE // max(1, math.prod(shape[1:])))
    for start in range(0, len(places), rows):
        yield np.ascontiguousarray(squares[places[start : start + rows]]).tobytes()
    yield np.ascontiguousarray(part.membership).tobytes()


def open_set(path: Path) -> ImageSet:
    """A set from its file; images are mapped, privately, and are read when something looks at them."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = stream.read(size)
    described = json.loads(header)
    names = json.loads(described.pop("__metadata__")["description"])
    arrays = {name: _mapped(path, 8 + size, tensor) for name, tensor in described.items()}
    return ImageSet(
        images=arrays["images"],
        ids=tuple(names["ids"]),
        labels=np.array(arrays["labels"]),
        label_names=tuple(names["label_names"]),
        membership=np.array(arrays["membership"]),
        contributors=tuple(names["contributors"]),
        texts=None if names["texts"] is None else tuple(names["texts"]),
    )


def _mapped(path: Path, begin: int, tensor: dict[str, Any]) -> np.ndarray:
    kind, shape = KINDS[tensor["dtype"]], tuple(tensor["shape"])
    start, stop = tensor["data_offsets"]
    if start == stop:
        return np.empty(shape, kind)
    return np.asarray(np.memmap(path, kind, "c", offset=begin + start, shape=shape))


def _header(part: ImageSet, shape: tuple[int, ...]) -> bytes:
    """The header of safetensors: that of the same set without images, with their shape and place put in."""
    empty = ImageSet(
        images=np.empty((0, *shape[1:]), np.uint8),
        ids=part.ids,
        labels=part.labels,
        label_names=part.label_names,
        membership=part.membership,
        contributors=part.contributors,
        texts=part.texts,
    ).to_bytes()
    size = int.from_bytes(empty[:8], "little")
    header = json.loads(empty[8 : 8 + size])
    end = 0
    for name, kind, dims in (
        ("labels", "I64", part.labels.shape),
        ("images", "U8", shape),
        ("membership", "BOOL", part.membership.shape),
    ):
        length = math.prod(dims) * KINDS[kind].itemsize
        header[name] = {"dtype": kind, "shape": list(dims), "data_offsets": [end, end + length]}
        end += length
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    written += b" " * (-len(written) % 8)
    return len(written).to_bytes(8, "little") + written
