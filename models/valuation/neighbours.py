"""Nearest neighbours by direction: exact search for small sets, product quantization for large ones."""

from __future__ import annotations

import math
from typing import Literal

import faiss
import numpy as np
import torch

from royalty.models.base.checks import check_finite
from royalty.models.base.errors import InputError
from royalty.models.base.serialization import pack, unpack
from royalty.models.valuation.exact import Exact, faiss_threads, nearest_first, on_device

Kind = Literal["auto", "flat", "ivfpq"]

EXACT_BELOW = 200_000
"""Largest number of items for which "auto" is exact search. Training included, "ivfpq" breaks even near 100,000 items
for 10,000 queries (tests.benchmarks.gmvaluator_scale), and later for fewer queries."""

CODE_BYTES = 16
"""Bytes of a quantized vector, one for each of its pieces."""

CENTROIDS = 256
"""Centroids of a piece, numbered by one byte."""

PER_CENTROID = 39
"""Fewest training items per centroid that faiss accepts."""

MOST_PER_CENTROID = 64
"""Most training items per centroid; more take longer and change little."""

ROUNDS = 10
"""Iterations of k-means; more of them, or more code bytes, do not raise recall, since candidates are ranked exactly."""

PROBES = 32
"""Lists searched for a query."""

CANDIDATES = 4
"""Candidates by quantized distance per requested neighbour, which are then ranked by exact distance."""

SAMPLE = 200
"""Queries that recall is measured on."""

ROUNDING = 1e-6
"""Rounding error of distances between unit vectors."""


class Index:
    """A search index of items by Euclidean distance between unit vectors: sqrt(2 - 2 cosine), in [0, 2].

    The length of a feature vector reflects the contrast of an image, so only its direction is compared.
    """

    def __init__(self, exact: Exact, lists: faiss.Index | None = None, device: torch.device | None = None) -> None:
        self.exact = exact
        self._lists = lists
        if lists is not None:
            self._refined = faiss.IndexRefine(on_device(lists, device), exact.flat)
            self._refined.k_factor = CANDIDATES

    @property
    def kind(self) -> Kind:
        return "flat" if self._lists is None else "ivfpq"

    @property
    def dimensions(self) -> int:
        return len(self.exact.centre)

    def __len__(self) -> int:
        return len(self.exact)

    def search(self, queries: np.ndarray, k: int, *, threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest items of each query, nearest first; of equal distances the lowest row first.

        Args:
            queries: floating point, `(queries, dimensions)`.
            k: from 1 to the number of items.
            threads: of faiss; by default as many as torch uses.

        Returns:
            distances, float64, and rows of the items, int64, both `(queries, k)`. "ivfpq" returns the nearest of its
            candidates with their exact distances; a query with fewer than k candidates is searched exactly.

        Raises:
            InputError: k out of range; queries of other dimensions, not finite or of length zero.
        """
        if not 1 <= k <= len(self):
            raise InputError(f"neighbours are from 1 to the number of items, {len(self)}; got {k}. Ask for fewer")
        if queries.ndim != 2 or queries.shape[1] != self.dimensions:
            raise InputError(
                f"queries have the dimensions of the items, {self.dimensions}; got shape {queries.shape}. Embed both "
                "with one encoder"
            )
        units = unit_vectors(queries, "query")
        if self._lists is None:
            return self.exact.search(units, k, threads=threads)
        with faiss_threads(threads):
            squared, rows = self._refined.search(self.exact.centred(units), k)
        distances, rows = nearest_first(squared, rows)
        short = (rows < 0).any(axis=1)
        if short.any():
            distances[short], rows[short] = self.exact.search(units[short], k, threads=threads)
        return distances, rows

    def recall(self, queries: np.ndarray, k: int, *, threads: int | None = None) -> float:
        """Fraction of the k nearest items that `search` finds, in [0, 1]; 1 for exact search.

        Measured against exact search on at most 200 evenly spaced queries; items as near as the k-th are
        interchangeable.

        Raises:
            InputError: as `search`.
        """
        if self.kind == "flat":
            return 1.0
        sample = queries[np.linspace(0, len(queries) - 1, min(len(queries), SAMPLE)).astype(np.int64)]
        distances, _ = self.search(sample, k, threads=threads)
        nearest, _ = self.exact.search(unit_vectors(sample, "query"), k, threads=threads)
        return float((distances <= nearest[:, -1:] + ROUNDING).mean())

    def to_bytes(self) -> bytes:
        """The vectors, and what was trained on them."""
        arrays = {"vectors": self.exact.vectors, "centre": self.exact.centre}
        if self._lists is not None:
            arrays["lists"] = faiss.serialize_index(self._lists)
        return pack(arrays, {"kind": self.kind})

    @classmethod
    def from_bytes(cls, payload: bytes, device: torch.device | None = None) -> Index:
        arrays, description = unpack(payload)
        exact = Exact(arrays["vectors"], device, centre=arrays["centre"])
        lists = faiss.deserialize_index(arrays["lists"]) if description["kind"] == "ivfpq" else None
        return cls(exact, lists, device)


def build_index(
    features: np.ndarray,
    *,
    kind: Kind = "auto",
    seed: int = 0,
    threads: int | None = None,
    device: torch.device | None = None,
) -> Index:
    """Build a search index of items.

    Args:
        features: floating point, `(items, dimensions)`.
        kind: "flat" compares with every item. "ivfpq" divides the items into lists, 4 sqrt(items) of them, and
            compares with quantized vectors in those nearest to the query. "auto" is "flat" up to 200,000 items.
        seed: of what "ivfpq" learns; the same seed and number of threads give the same index.
        threads: of faiss; by default as many as torch uses.
        device: as for `Exact`.

    Raises:
        InputError: another kind; features that are not finite, or of length zero; fewer than 9,984 items for "ivfpq".
    """
    if features.ndim != 2 or not np.issubdtype(features.dtype, np.floating) or 0 in features.shape:
        raise InputError(
            f"items are compared by floating-point features, (items, dimensions); got {features.dtype} of shape "
            f"{features.shape}"
        )
    if kind not in ("auto", "flat", "ivfpq"):
        raise InputError(f'neighbours are searched by kind "auto", "flat" or "ivfpq"; got {kind!r}')
    exact = Exact(unit_vectors(features, "training"), device)
    if kind == "flat" or (kind == "auto" and len(exact) <= EXACT_BELOW):
        return Index(exact, None, device)
    if len(exact) < CENTROIDS * PER_CENTROID:
        raise InputError(
            f'"ivfpq" learns {CENTROIDS} centroids from {CENTROIDS * PER_CENTROID} items or more; got {len(exact)}. '
            'Take "flat", which is exact and fast enough'
        )
    return Index(exact, _train(exact.vectors, seed, threads, device), device)


def unit_vectors(features: np.ndarray, title: str) -> np.ndarray:
    """Vectors scaled to length one, float32; raises as `lengths_of`."""
    lengths = lengths_of(features, title)
    unit: np.ndarray = np.divide(
        features, lengths[:, None], out=np.empty(features.shape, np.float32), casting="same_kind"
    )
    return unit


def lengths_of(features: np.ndarray, title: str) -> np.ndarray:
    """Lengths of vectors that have a direction, float64, `(items,)`.

    Raises:
        InputError: a vector is not finite, or of length zero; its row is named.
    """
    check_finite(features, title)
    lengths: np.ndarray = np.sqrt(np.einsum("ij,ij->i", features, features, dtype=np.float64))
    bad = np.flatnonzero((lengths == 0) | ~np.isfinite(lengths))
    if len(bad):
        raise InputError(
            f"features are compared by their direction, which a vector of length {lengths[bad[0]]:g} has not: "
            f"{title} row {bad[0]}{f' and {len(bad) - 1} others' if len(bad) > 1 else ''}. Leave such images out, or "
            "choose another encoder"
        )
    return lengths


def _train(vectors: np.ndarray, seed: int, threads: int | None, device: torch.device | None) -> faiss.Index:
    items, dimensions = vectors.shape
    # A rotation spreads the variance over all pieces, and pads the dimensions to a multiple of the pieces.
    width = math.ceil(dimensions / CODE_BYTES) * CODE_BYTES
    rotation = faiss.RandomRotationMatrix(dimensions, width)
    rotation.init(seed)
    lists = min(round(4 * math.sqrt(items)), items // PER_CENTROID)
    quantized = faiss.IndexIVFPQ(faiss.IndexFlatL2(width), width, lists, CODE_BYTES, 8)
    quantized.cp.seed = quantized.pq.cp.seed = seed
    quantized.cp.max_points_per_centroid = quantized.pq.cp.max_points_per_centroid = MOST_PER_CENTROID
    quantized.cp.niter = quantized.pq.cp.niter = ROUNDS
    quantized.nprobe = PROBES
    index = faiss.IndexPreTransform(rotation, quantized)
    with faiss_threads(threads):
        trained = on_device(index, device)
        trained.train(vectors)
        trained.add(vectors)
    return trained if trained is index else faiss.index_gpu_to_cpu(trained)
