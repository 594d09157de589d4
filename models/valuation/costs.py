"""Cost matrices of transport: computed tile by tile, or in memory if they are small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from royalty.models.base.rows import Features

TILE, GPU_TILE = 2**20, 2**24
"""Entries of a tile: enough rows for a fast matrix product, and the bound on memory."""

KEPT = 2**27
"""Bytes of the largest cost that is kept on a CPU, 128 MiB; on a GPU, a tile is."""


LEAST_ON_GPU = 2**18
"""Fewest entries of a cost that is computed on a GPU. A pass over fewer takes a core of a CPU about a millisecond, and
so do the calls and copies of a pass on a GPU, however few the entries."""


def placed(device: torch.device | None, entries: int) -> torch.device:
    """The device of a cost of so many entries: the CPU for a small one, where the GPU gains less than it takes."""
    return torch.device("cpu") if device is None or entries < LEAST_ON_GPU else device


class Cost(Protocol):
    """A cost matrix that is computed tile by tile."""

    shape: tuple[int, int]
    scale: float
    """Approximate standard deviation of the entries."""

    target_groups: Tensor
    """Group of each target, `(m,)`, on the CPU."""

    groups: Tensor
    """Group of each source, `(n,)`."""

    small: bool
    """Whether the entries are in memory, so that as many numbers may be held beside them."""

    @property
    def device(self) -> torch.device:
        """Where the entries are computed. Vectors as long as a side of the matrix stay on the CPU."""

    def tiles(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Rows, their entries without the offsets, `(rows, m)`, and their groups, `(rows,)`."""

    @property
    def offsets(self) -> Tensor:
        """Numbers added to all entries of a group of rows, `(groups, m)`."""


class MatrixCost:
    """A small cost matrix in memory, `(n, m)`."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float64))
        self.shape = (len(matrix), matrix.shape[1])
        self.scale = _spread(self.matrix)
        self.target_groups = torch.zeros(self.shape[1], dtype=torch.long)
        self.offsets = torch.zeros(1, self.shape[1], dtype=torch.float64)
        self.groups = torch.zeros(self.shape[0], dtype=torch.long)
        self.small = True

    @property
    def device(self) -> torch.device:
        return self.matrix.device

    def tiles(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        yield slice(0, self.shape[0]), self.matrix, self.groups


class PointCost:
    """Weighted Euclidean distance of features plus label offsets: feature_weight |x_i - x'_j| + offsets[y_i, j].

    A cost of at most `KEPT` bytes is kept between passes; a larger one is recomputed in each pass, so that memory does
    not grow with n times m.
    """

    def __init__(
        self,
        sources: Features,
        targets: np.ndarray,
        *,
        feature_weight: float = 1.0,
        offsets: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        target_groups: np.ndarray | None = None,
        centre: np.ndarray | None = None,
        scale: float | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Take points, `(n, d)` and `(m, d)`, possibly memory maps; of the sources, a tile is read at a time.

        Args:
            offsets: `(groups, m)`; zero by default.
            groups: `(n,)`, the row of `offsets` for each source.
            target_groups: `(m,)`, the group of each target.
            centre: `(d,)`, subtracted from both clouds, so that distances lose fewer digits.
            scale: standard deviation of the cost; by default that of the first tile.
            device: where entries are computed, if there are enough: see `placed`.
        """
        kind = np.float64 if sources.dtype == np.float64 else np.float32
        self.device = placed(device, len(sources) * len(targets))
        self.shape = (len(sources), len(targets))
        self.sources, self.kind = sources, kind
        self.centre = np.zeros(sources.shape[1], kind) if centre is None else centre.astype(kind)
        points = self._points(targets)
        squares = points.square().sum(dim=1, keepdim=True)
        self.ready = torch.cat([points.mul_(-2), torch.ones_like(squares), squares], dim=1).T
        self.feature_weight = feature_weight
        offsets = np.zeros((1, len(targets))) if offsets is None else offsets
        self.offsets = torch.from_numpy(offsets.astype(kind)).to(self.device)
        groups = np.zeros(len(sources), dtype=np.int64) if groups is None else groups
        self.groups = torch.from_numpy(groups).to(self.device)
        target_groups = np.zeros(len(targets), dtype=np.int64) if target_groups is None else target_groups
        self.target_groups = torch.from_numpy(target_groups)
        on_cpu = self.device.type == "cpu"
        self.height = max((TILE if on_cpu else GPU_TILE) // len(targets), 1)
        self.small = len(sources) * len(targets) <= (KEPT // np.dtype(kind).itemsize if on_cpu else GPU_TILE)
        self.kept = self._entries(slice(0, len(sources))) if self.small else None
        self.scale = self._first_spread() if scale is None else scale

    def tiles(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        for start in range(0, self.shape[0], self.height):
            rows = slice(start, min(start + self.height, self.shape[0]))
            yield rows, self._entries(rows) if self.kept is None else self.kept[rows], self.groups[rows]

    def _first_spread(self) -> float:
        _, entries, groups = next(self.tiles())
        return _spread(entries + self.offsets[groups])

    def _entries(self, rows: slice) -> Tensor:
        # As torch.cdist does for more than 25 points, but the targets are prepared once instead of for each tile.
        points = self._points(self.sources[rows])
        squares = points.square().sum(dim=1, keepdim=True)
        entries = torch.cat([points, squares, torch.ones_like(squares)], dim=1) @ self.ready
        entries = entries.clamp_min_(0).sqrt_()
        return entries if self.feature_weight == 1 else entries.mul_(self.feature_weight)

    def _points(self, features: np.ndarray) -> Tensor:
        centred: np.ndarray = np.subtract(features, self.centre, dtype=self.kind)
        return torch.from_numpy(centred).to(self.device)


def _spread(entries: Tensor) -> float:
    """Standard deviation; if it is zero, the mean absolute value; if that is zero too, one."""
    return float(entries.std(correction=0)) or float(entries.abs().mean()) or 1.0
