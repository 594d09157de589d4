"""Exact nearest neighbours by Euclidean distance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np
import torch

CANCELLED = 0.02
"""Squared distances below this fraction of |q|^2 + |x|^2 are recomputed from q - x, because products of float32 vectors
do not represent them accurately."""

CPU_OPERATIONS, COPIED_BYTES, STARTING = 2e11, 1e10, 0.5
"""Operations of a CPU a second, bytes copied to a GPU a second, and seconds until faiss has reserved memory there:
assumed for 8 cores and PCIe 4."""

PAIR_BYTES = 16 * 2**20
"""Memory for the differences q - x that are computed at once."""


class Exact:
    """An index that compares a query with all vectors of a set, by matrix products in float32.

    Args:
        features: `(items, dimensions)`, finite. Their mean is subtracted, which changes no distance and reduces
            rounding errors.
        centre: the mean, if it has already been subtracted from `features`.
        device: where searches run for which `pays_on_gpu`, with the `gpu` build of faiss; on a GPU that path is not
            tested. Others, and all without that build, run on the CPU.
    """

    def __init__(
        self, features: np.ndarray, device: torch.device | None = None, *, centre: np.ndarray | None = None
    ) -> None:
        self.centre = features.mean(axis=0, dtype=np.float64) if centre is None else centre
        self.flat = faiss.IndexFlatL2(features.shape[1])
        self.flat.add(self.centred(features) if centre is None else features)
        self.squares = np.einsum("ij,ij->i", self.vectors, self.vectors)
        self.device = device
        self._on_gpu: faiss.Index | None = None

    def __len__(self) -> int:
        return int(self.flat.ntotal)

    @property
    def vectors(self) -> np.ndarray:
        """The vectors minus their mean, float32, `(items, dimensions)`; a view of the memory of faiss."""
        shape = len(self), len(self.centre)
        view: np.ndarray = faiss.rev_swig_ptr(self.flat.get_xb(), shape[0] * shape[1]).reshape(shape)
        return view

    def _index(self, queries: int) -> faiss.Index:
        """The index on the device where so many queries are searched sooner; it is copied at the first such search."""
        on_gpu = self.device is not None and self.device.type != "cpu"
        if not on_gpu or (self._on_gpu is None and not pays_on_gpu(len(self), len(self.centre), queries)):
            return self.flat
        self._on_gpu = self._on_gpu or on_device(self.flat, self.device)
        return self._on_gpu

    def centred(self, features: np.ndarray) -> np.ndarray:
        """Features minus the mean of the index, float32."""
        centred: np.ndarray = np.subtract(
            features, self.centre, out=np.empty(features.shape, np.float32), casting="same_kind"
        )
        return centred

    def search(self, queries: np.ndarray, k: int, *, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest items of each query, nearest first.

        Args:
            queries: `(queries, dimensions)`.
            k: neighbours of each query, at most the number of items.
            threads: threads that faiss uses; by default as many as torch uses.

        Returns:
            Euclidean distances, float64, and rows of the items, int64, both `(queries, k)`. Equal distances are ordered
            by row. If several items share the k-th distance, faiss decides which of them are returned.
        """
        centred = self.centred(queries)
        with faiss_threads(threads):
            squared, rows = self._index(len(queries)).search(centred, k)  # (queries, k)
        lengths = np.square(centred).sum(axis=1)[:, None] + self.squares[rows]
        query, place = np.nonzero(squared < CANCELLED * lengths)
        size = max(1, PAIR_BYTES // (4 * centred.shape[1]))
        for start in range(0, len(query), size):
            pairs = query[start : start + size], place[start : start + size]
            squared[pairs] = np.square(centred[pairs[0]] - self.vectors[rows[pairs]]).sum(axis=1)
        return nearest_first(squared, rows)


def pays_on_gpu(items: int, dimensions: int, queries: int) -> bool:
    """Whether a GPU compares all pairs sooner than a CPU, although vectors are copied to it first.

    A CPU makes 2 operations for each pair and dimension, `CPU_OPERATIONS` a second. The copy takes 4 bytes for each
    number, `COPIED_BYTES` a second, after `STARTING` seconds in which faiss reserves memory on the GPU.
    """
    on_cpu = 2 * items * dimensions * queries / CPU_OPERATIONS
    return on_cpu > STARTING + 4 * dimensions * (items + queries) / COPIED_BYTES


def nearest_first(squared: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances, float64, from squared distances, and the rows of their items, sorted by distance and then by row."""
    order = np.lexsort((rows, squared))
    distances = np.sqrt(np.maximum(np.take_along_axis(squared, order, axis=1), 0), dtype=np.float64)
    return distances, np.take_along_axis(rows, order, axis=1)


def on_device(index: faiss.Index, device: torch.device | None) -> faiss.Index:
    """The index, or its copy on a CUDA device if the installed faiss has CUDA. The results are the same."""
    if device is None or device.type == "cpu" or not hasattr(faiss, "StandardGpuResources"):
        return index
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device.index or 0, index)


@contextmanager
def faiss_threads(threads: int | None) -> Iterator[None]:
    """Let faiss use this number of threads, by default as many as torch. The number applies to the whole process."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads or torch.get_num_threads())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
