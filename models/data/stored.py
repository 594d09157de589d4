"""An image set in a file that is written piece by piece and read by memory map: it may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from royalty.models.base.serialization import open_packed, packed_pieces
from royalty.models.data.items import ImageSet


def set_pieces(part: ImageSet, squares: np.ndarray) -> Iterator[bytes]:
    """The bytes of a set, as `ImageSet.to_bytes` makes them, without holding them.

    Args:
        part: `images` are places in `squares`, int64, `(items,)`.
        squares: uint8, `(images, channels, height, width)`, of which the set has some.
    """
    return packed_pieces({**part.arrays(), "images": _Placed(squares, part.images)}, part.names())


def open_set(path: Path) -> ImageSet:
    """A set from its file; images are mapped, privately, and are read when something looks at them."""
    arrays, names = open_packed(path)
    small = {name: np.array(arrays[name]) for name in ("labels", "membership")}
    return ImageSet.of_parts({"images": arrays["images"], **small}, names)


@dataclass(frozen=True)
class _Placed:
    """Images by their places in a larger array, taken when they are asked for."""

    squares: np.ndarray
    places: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        return self.squares.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.places), *self.squares.shape[1:]

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        taken: np.ndarray = self.squares[self.places[rows]]
        return taken
