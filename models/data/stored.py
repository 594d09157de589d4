"""An image set in a file that is written piece by piece and read by memory map: it may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from royalty.models.base.serialization import open_packed, packed_pieces
from royalty.models.data.items import ImageSet


def set_pieces(part: ImageSet, squares: np.ndarray) -> Iterator[bytes]:
    """The bytes of `ImageSet.to_bytes` in pieces, without holding all of them in memory.

    Args:
        part: a set whose `images` are positions in `squares`, int64, `(items,)`.
        squares: uint8, `(images, channels, height, width)`.
    """
    return packed_pieces({**part.arrays(), "images": _SelectedImages(squares, part.images)}, part.names())


def open_set(path: Path) -> ImageSet:
    """A set from its file; images are memory-mapped privately and read on access."""
    arrays, names = open_packed(path)
    small = {name: np.array(arrays[name]) for name in ("labels", "membership")}
    return ImageSet.of_parts({"images": arrays["images"], **small}, names)


@dataclass(frozen=True)
class _SelectedImages:
    """A selection of images of a larger array, read on access."""

    squares: np.ndarray
    places: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        return self.squares.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.places), *self.squares.shape[1:]

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        images: np.ndarray = self.squares[self.places[rows]]
        return images
