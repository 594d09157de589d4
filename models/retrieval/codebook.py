"""Inverted lists of short codes: the coarse half of a search among vectors that stay on disk."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import faiss
import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.valuation.exact import faiss_threads

Lists = Any
"""A `faiss.IndexIVF`; the type stubs of faiss lack what is used of it."""

CODE = "SQ8"
"""Code of a projected vector, in faiss's notation; `python -m tests.benchmarks.index_scale --codes` compares others."""

PROJECTED = 256
"""Most principal components that are coded."""

PER_LIST = 39
"""Fewest sampled vectors for each list, which faiss asks for."""

ROUNDS = 8
"""Iterations of k-means; lists only have to be even, because candidates are ranked exactly."""

LEAST = 20_000
"""Fewest items that are worth inverted lists; below, every vector is compared."""

PROBES = 32
"""Fewest lists that a query searches."""

SCANNED = 16_000
"""Fewest codes that a query reads: small sets have short lists, and a query searches more of them."""


@dataclass(frozen=True)
class Codebook:
    """Principal components, the centres of the lists, and the ranges of codes, learned from a sample of vectors.

    Attributes:
        transforms: of faiss, one after the other from `(n, dimensions)` to `(n, projected)`.
        empty: a trained faiss index of projected vectors, without items.
        whole: what faiss frees the others with, if they were read together.
    """

    transforms: tuple[Any, ...]
    empty: Any
    whole: Any = None

    @classmethod
    def learn(
        cls, sample: np.ndarray, items: int, *, code: str = CODE, seed: int = 0, centre: bool = False
    ) -> Codebook:
        """Learn from unit vectors.

        Args:
            sample: float32, `(n, dimensions)`; a random sample of the items. More than `sampled(items)` changes little.
            items: number of items that are expected; there are 2 sqrt(items) lists.
            code: of a projected vector, in faiss's notation, such as `SQ8`, `PQ64` or `RaBitQ`.
            centre: code directions from the mean of the sample, for vectors that are ranked by directions from a mean.

        Raises:
            InputError: the sample is too small for the lists.
        """
        count, dimensions = sample.shape
        lists = _lists(items)
        if count < lists * PER_LIST:
            raise InputError(
                f"{lists} lists are learned from {lists * PER_LIST} vectors or more; got {count}. Give more, or "
                "search without lists"
            )
        width = min(PROJECTED, dimensions)
        with faiss_threads(None):
            transforms: tuple[Any, ...] = ()
            if centre:
                transforms = faiss.CenteringTransform(dimensions), faiss.NormalizationTransform(dimensions)
                transforms[0].train(sample)
            projection = faiss.PCAMatrix(dimensions, width)
            projection.train(_applied(transforms, sample[: 20 * dimensions]))
            transforms = *transforms, projection
            empty: Any = faiss.index_factory(width, f"IVF{lists},{code}")
            empty.cp.seed, empty.cp.niter = seed, ROUNDS
            empty.cp.min_points_per_centroid, empty.cp.max_points_per_centroid = PER_LIST, PER_LIST
            if hasattr(empty, "pq"):
                empty.do_polysemous_training = False  # minutes for an order of centroids that is not used here
                empty.by_residual = False  # one table of distances for all lists, which else takes 268 MB at 4,096
                empty.pq.cp.seed, empty.pq.cp.niter, empty.pq.cp.max_points_per_centroid = seed, ROUNDS, 64
            empty.train(_applied(transforms, sample))
        return cls(transforms, empty)

    @property
    def lists(self) -> int:
        return int(self.empty.nlist)

    @property
    def probes(self) -> int:
        """Lists that a query searches by default; a list has about `lists` / 4 items, as there are 2 sqrt(items)."""
        return min(self.lists, max(PROBES, round(4 * SCANNED / self.lists)))

    def filled(self, blocks: Iterable[np.ndarray], *, first: int = 0) -> Lists:
        """A copy of the lists with the codes of vectors, numbered from `first`.

        Args:
            blocks: float32, `(n, dimensions)` each.
        """
        index: Lists = faiss.clone_index(self.empty)
        with faiss_threads(None):
            for block in blocks:
                numbers = np.arange(first, first + len(block), dtype=np.int64)
                index.add_with_ids(_applied(self.transforms, np.ascontiguousarray(block, np.float32)), numbers)
                first += len(block)
        return index

    def probe(self, query: np.ndarray, probes: int) -> Probe:
        """Find the lists nearest to a unit vector, float32, `(dimensions,)`."""
        projected = _applied(self.transforms, np.ascontiguousarray(query[None], np.float32))
        with faiss_threads(1):
            distances, nearest = self.empty.quantizer.search(projected, min(probes, self.lists))
        return Probe(projected, nearest, distances)

    def to_bytes(self) -> bytes:
        """Transforms and lists; equal codebooks give equal bytes."""
        whole: Any = faiss.IndexPreTransform(self.empty)
        for transform in reversed(self.transforms):
            whole.prepend_transform(transform)
        payload: bytes = faiss.serialize_index(whole).tobytes()
        return payload

    @classmethod
    def from_bytes(cls, payload: bytes) -> Codebook:
        both: Any = faiss.deserialize_index(np.frombuffer(payload, np.uint8))
        transforms = tuple(faiss.downcast_VectorTransform(both.chain.at(place)) for place in range(both.chain.size()))
        return cls(transforms, faiss.downcast_index(both.index), both)


@dataclass(frozen=True)
class Probe:
    """A query, projected, `(1, projected)`, and the lists nearest to it with their distances, both `(1, probes)`."""

    projected: np.ndarray
    nearest: np.ndarray
    distances: np.ndarray


def scan(
    lists: Lists, probe: Probe, count: int, removed: np.ndarray | None, *, before: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The items of the probed lists whose codes are nearest to a query, on one thread, so that it is repeatable.

    Args:
        lists: of `Codebook.filled`, perhaps mapped from disk.
        removed: bits of item numbers that are skipped, of `bits_of`; None: none.
        before: skip also the items from this number on; None: no others.

    Returns:
        Approximate squared distances, float32, and numbers of items, int64; at most `count`.
    """
    library: Any = faiss
    selectors = [] if removed is None else [library.IDSelectorNot(library.IDSelectorBitmap(removed))]
    selectors += [] if before is None else [library.IDSelectorRange(0, before)]
    kept = {"sel": reduce(library.IDSelectorAnd, selectors)} if selectors else {}
    parameters = library.SearchParametersIVF(nprobe=probe.nearest.shape[1], **kept)
    distances, numbers = np.empty(count, np.float32), np.empty(count, np.int64)
    arrays = probe.nearest, probe.distances, distances, numbers
    with faiss_threads(1):  # the wrapper of this method in Python takes no parameters
        lists.search_preassigned_c(
            1, faiss.swig_ptr(probe.projected), count, *map(faiss.swig_ptr, arrays), False, parameters
        )
    present = numbers >= 0
    return distances[present], numbers[present]


def _applied(transforms: Iterable[Any], vectors: np.ndarray) -> np.ndarray:
    for transform in transforms:
        vectors = transform.apply(vectors)
    return vectors


def bits_of(numbers: np.ndarray, count: int) -> np.ndarray | None:
    """A bitmap of item numbers below `count`, uint8, as `scan` takes it; None if there are no numbers."""
    if not len(numbers):
        return None
    flags = np.zeros(count, dtype=bool)
    flags[numbers] = True
    return np.packbits(flags, bitorder="little")


def sampled(items: int) -> int:
    """Vectors that a codebook for this number of items learns from."""
    return min(items, _lists(items) * PER_LIST)


def _lists(items: int) -> int:
    return max(1, min(round(2 * math.sqrt(items)), items // PER_LIST))
