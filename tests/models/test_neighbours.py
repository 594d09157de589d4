"""Nearest neighbours: brute force, what quantization misses, and what is refused."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from royalty.models.base.errors import InputError
from royalty.models.valuation import exact, neighbours
from royalty.models.valuation import exact as exact_module
from royalty.models.valuation.exact import Exact, on_device
from royalty.models.valuation.neighbours import Index, build_index


def brute_force(items: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances, and rows; of equal distances the lowest row first."""
    apart = np.linalg.norm(queries[:, None].astype(np.float64) - items[None], axis=2)
    rows = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(apart, rows, axis=1), rows


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)


def clusters(items: int, dimensions: int, seed: int) -> np.ndarray:
    """Twenty blobs, float32, that the seed draws other points of."""
    centres = np.random.default_rng(99).normal(size=(20, dimensions))
    generator = np.random.default_rng(seed)
    return (centres[np.arange(items) % 20] + 0.5 * generator.normal(size=(items, dimensions))).astype(np.float32)


@pytest.fixture(scope="module")
def quantized() -> Index:
    return build_index(clusters(12_000, 20, 0), kind="ivfpq", seed=3, threads=1)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), items=st.integers(1, 60), dimensions=st.integers(1, 40), share=st.floats(0, 1))
def test_exact_search_is_brute_force(seed: int, items: int, dimensions: int, share: float) -> None:
    generator = np.random.default_rng(seed)
    train, queries = generator.normal(size=(items, dimensions)), generator.normal(size=(25, dimensions))
    k = 1 + round(share * (items - 1))
    distances, rows = Exact(train).search(queries, k)
    expected, _ = brute_force(train, queries, k)
    np.testing.assert_allclose(distances, expected, atol=1e-5)
    own = np.linalg.norm(queries[:, None] - train[rows], axis=2)
    np.testing.assert_allclose(distances, own, atol=1e-5)
    assert all(len(set(row)) == k for row in rows.tolist())


def test_an_index_compares_directions() -> None:
    generator = np.random.default_rng(0)
    train, queries = generator.normal(size=(50, 7)), generator.normal(size=(30, 7))
    distances, rows = build_index(train).search(queries, 9)
    expected, nearest = brute_force(unit(train), unit(queries), 9)
    np.testing.assert_array_equal(rows, nearest)
    np.testing.assert_allclose(distances, expected, atol=1e-6)
    scaled = build_index(train * generator.uniform(1e-20, 1e20, size=(50, 1))).search(queries.astype(np.float32), 9)
    np.testing.assert_array_equal(scaled[1], nearest)
    np.testing.assert_allclose(scaled[0], expected, atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_near_copies_are_told_apart(offset: float) -> None:
    generator = np.random.default_rng(0)
    point = generator.normal(size=32)
    steps = np.arange(1, 31)[::-1, None] * 1e-4 * generator.normal(size=32)
    train = np.vstack([point + steps, generator.normal(size=(200, 32))]) + offset
    queries = np.repeat(point[None] + offset, 25, axis=0)  # faiss takes differences itself for fewer than twenty
    distances, rows = Exact(train).search(queries, 30)
    np.testing.assert_array_equal(rows, np.tile(np.arange(29, -1, -1), (25, 1)))
    np.testing.assert_allclose(distances, np.tile(brute_force(train, queries[:1], 30)[0], (25, 1)), rtol=1e-2)


def test_of_copies_the_lowest_row_is_first_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    train = np.tile(np.random.default_rng(0).normal(size=(20, 64)), (5, 1))
    for size in (exact.PAIR_BYTES, 1):
        monkeypatch.setattr(exact, "PAIR_BYTES", size)
        distances, rows = Exact(train).search(train[:20], 5)
        np.testing.assert_array_equal(rows, np.arange(20)[:, None] + 20 * np.arange(5))
        assert (distances == 0).all()


def test_quantization_finds_nearly_all_at_exact_distances(quantized: Index) -> None:
    queries = clusters(300, 20, 1)
    assert quantized.kind == "ivfpq"
    distances, rows = quantized.search(queries, 50)
    own = np.linalg.norm(unit(queries)[:, None] - unit(clusters(12_000, 20, 0))[rows], axis=2)
    np.testing.assert_allclose(distances, own, atol=1e-6)
    assert (np.diff(distances, axis=1) >= 0).all()
    _, nearest = brute_force(unit(clusters(12_000, 20, 0)), unit(queries[::10]), 50)
    true = np.mean([len(set(a) & set(b)) / 50 for a, b in zip(rows[::10], nearest, strict=True)])
    measured = quantized.recall(queries[::10], 50)
    assert measured == pytest.approx(true, abs=1e-3)
    assert 0.95 <= measured <= 1


def test_recall_tells_what_is_missed(quantized: Index) -> None:
    lists = faiss.deserialize_index(faiss.serialize_index(quantized._lists))
    faiss.extract_index_ivf(lists).nprobe = 1
    poor = Index(quantized.exact, lists)
    queries = clusters(100, 20, 1)
    _, rows = poor.search(queries, 50)
    _, nearest = quantized.exact.search(unit(queries), 50)
    true = np.mean([len(set(a) & set(b)) / 50 for a, b in zip(rows, nearest, strict=True)])
    assert true < 0.9
    assert poor.recall(queries, 50) == pytest.approx(true, abs=1e-3)


def test_queries_whose_lists_hold_too_few_are_searched_exactly(quantized: Index) -> None:
    queries = clusters(5, 20, 1)
    distances, rows = quantized.search(queries, 12_000)
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(np.arange(12_000), (5, 1)))
    np.testing.assert_allclose(distances, quantized.exact.search(unit(queries), 12_000)[0], atol=1e-6)


def test_equal_seeds_give_equal_indices_and_bytes_keep_them(quantized: Index) -> None:
    features, queries = clusters(12_000, 20, 0), clusters(40, 20, 1)
    payload = quantized.to_bytes()
    assert build_index(features, kind="ivfpq", seed=3, threads=1).to_bytes() == payload
    assert build_index(features, kind="ivfpq", seed=4, threads=1).to_bytes() != payload
    for index in (quantized, build_index(features[:100])):
        kept = Index.from_bytes(index.to_bytes())
        assert (kept.kind, len(kept), kept.dimensions) == (index.kind, len(index), index.dimensions)
        for again, before in zip(kept.search(queries, 30), index.search(queries, 30), strict=True):
            np.testing.assert_array_equal(again, before)


def test_kind_follows_size(monkeypatch: pytest.MonkeyPatch) -> None:
    features = clusters(100, 4, 0)
    index = build_index(features)
    assert index.kind == "flat"
    assert index.recall(features[:10], 7) == 1
    monkeypatch.setattr(neighbours, "EXACT_BELOW", 99)
    with pytest.raises(InputError, match='"ivfpq" learns'):
        build_index(features)


def test_threads_are_given_back() -> None:
    before = faiss.omp_get_max_threads()
    index = build_index(clusters(100, 4, 0))
    with pytest.raises(InputError):
        index.search(np.zeros((1, 4)), 3, threads=before + 1)
    index.search(clusters(30, 4, 1), 3, threads=before + 1)
    assert faiss.omp_get_max_threads() == before


def test_bad_input_is_refused() -> None:
    features = clusters(100, 4, 0)
    index = build_index(features)
    for k in (0, 101):
        with pytest.raises(InputError, match=f"from 1 to the number of items, 100; got {k}"):
            index.search(features, k)
    with pytest.raises(InputError, match=r"dimensions of the items, 4; got shape \(2, 3\)"):
        index.search(np.ones((2, 3)), 1)
    with pytest.raises(InputError, match='"auto", "flat" or "ivfpq"; got \'tree\''):
        build_index(features, kind="tree")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="from 9984 items or more; got 100"):
        build_index(features, kind="ivfpq")
    for bad in (features[0], features.astype(np.int64), features[:0], features[:, :0]):
        with pytest.raises(InputError, match="floating-point features"):
            build_index(bad)
    features[7], features[9] = 0, 0
    with pytest.raises(InputError, match="length 0 has not: training row 7 and 1 others"):
        build_index(features)
    with pytest.raises(InputError, match="query row 7"):
        index.search(features, 1)
    features[3, 2] = np.nan
    with pytest.raises(InputError, match="training row 3 has nan in dimension 2"):
        build_index(features)


@pytest.mark.skipif(hasattr(faiss, "StandardGpuResources"), reason="this faiss has CUDA")
def test_a_faiss_without_cuda_searches_on_the_cpu() -> None:
    features = clusters(100, 4, 0)
    on_gpu, on_cpu = (build_index(features, device=torch.device(name)).search(features, 3) for name in ("cuda", "cpu"))
    np.testing.assert_array_equal(on_gpu, on_cpu)
    index = faiss.IndexFlatL2(4)
    assert on_device(index, torch.device("cuda")) is index


def test_a_gpu_searches_where_it_gains_more_than_the_copy_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    # 2 * 1e6 * 500 * q / 2e11 = 0.005 q seconds on a CPU; copying takes 0.2 s, after 0.5 s.
    assert not exact_module.pays_on_gpu(1_000_000, 500, 140)
    assert exact_module.pays_on_gpu(1_000_000, 500, 150)
    assert not exact_module.pays_on_gpu(1000, 500, 1000)
    copied: list[int] = []
    monkeypatch.setattr(exact_module, "on_device", lambda index, device: copied.append(index.ntotal) or index)
    monkeypatch.setattr(exact_module, "pays_on_gpu", lambda items, dimensions, queries: queries > 2)
    features = np.random.default_rng(0).normal(0, 1, (9, 4))
    index, alone = Exact(features, torch.device("cuda")), Exact(features, torch.device("cpu"))
    for queries, copies in ((2, []), (3, [9]), (1, [9]), (5, [9])):  # once it is there, it stays
        np.testing.assert_array_equal(index.search(features[:queries], 3), alone.search(features[:queries], 3))
        assert copied == copies
