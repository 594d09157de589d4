"""Near duplicates: all that comparing every pair finds, however the comparing is cut up; and files compressed again."""

from __future__ import annotations

import io
from itertools import product

import numpy as np
import pytest
from PIL import Image
from scipy.sparse import csr_array

from royalty.models.data import duplicates, within
from royalty.models.data.duplicates import NEAR, near_copies, near_owners
from royalty.models.data.mnist import mnist_digits


@pytest.mark.parametrize(("rows", "numbers"), [(1024, 10**7), (7, 200)])
def test_all_pairs_that_are_near_and_no_others(rows: int, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(within, "ITEMS", rows)
    monkeypatch.setattr(duplicates, "NUMBERS", numbers)
    draw = np.random.default_rng(0)
    images = draw.integers(20, 235, (150, 3, 6, 10)).astype(np.int64)  # sides that blocks do not divide
    images[:60] = images[60:120] + np.round(draw.normal(0, draw.uniform(1, 9, (60, 1, 1, 1)), (60, 3, 6, 10)))
    images[:30] += draw.integers(-6, 7, (30, 1, 1, 1))  # brighter or darker all over
    membership = draw.random((150, 5)) < 0.3
    shown = images.clip(0, 255).astype(np.uint8)
    apart = (shown[:, None].astype(float) - shown[None]) / 255
    near = np.sqrt(np.square(apart).mean(axis=(2, 3, 4))) <= NEAR
    assert 5 < near[:60, 60:].sum() < 55
    np.testing.assert_array_equal(near_owners(shown, membership).toarray(), near @ membership)
    sparse = near_owners(shown, csr_array(membership))
    np.testing.assert_array_equal(sparse.toarray(), near @ membership)


def test_a_digit_that_was_compressed_again_and_one_that_was_not() -> None:
    digits, _ = mnist_digits()
    digits = digits[:400]
    again = np.empty_like(digits[:12])
    for digit, copy in zip(digits, again, strict=False):
        Image.fromarray(digit[0]).save(file := io.BytesIO(), "JPEG", quality=95)
        copy[0] = np.asarray(Image.open(file))
    assert not (digits[:12] == again).all(axis=(1, 2, 3)).any()
    images = np.concatenate([digits, again])
    owner = np.concatenate([np.arange(400) % 3, np.full(12, 3)])
    membership = owner[:, None] == np.arange(4)
    found = near_copies(near_owners(images, membership), membership)
    assert found == [(0, 3, 4), (1, 3, 4), (2, 3, 4)]
    mapped = near_owners(np.concatenate([images, images[:5]]), membership[::-1], np.arange(412)[::-1])
    assert near_copies(mapped, membership[::-1]) == found, "places say which image is whose"


def test_images_that_are_nearly_blank() -> None:
    images = np.random.default_rng(0).integers(0, 2, (50, 1, 8, 8), dtype=np.uint8)
    membership = np.eye(5, dtype=bool)[np.arange(50) % 5]
    assert near_copies(near_owners(images, membership), membership) == [
        (one, other, 10) for one, other in product(range(5), range(5)) if one < other
    ]
