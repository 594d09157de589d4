"""Arrays in pieces and in files of their own are the bytes, and the arrays, of those in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from royalty.models.base import serialization
from royalty.models.base.serialization import open_packed, pack, packed_pieces

GENERATOR = np.random.default_rng(0)
ARRAYS = {
    "features": GENERATOR.normal(size=(7, 5)).astype(np.float32),
    "halves": GENERATOR.normal(size=(3, 2)).astype(np.float16),
    "doubles": GENERATOR.normal(size=4),
    "labels": np.arange(7),
    "pixels": GENERATOR.integers(0, 256, (3, 1, 2, 2), dtype=np.uint8),
    "known": np.arange(5) % 2 == 0,
    "none": np.empty((0, 3), dtype=np.float32),
}
DESCRIPTION = {"ids": ["a", "ü"], "labels": None}


def test_pieces_are_the_payload_and_its_file_the_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialization, "PIECE", 32)
    whole = pack(ARRAYS, DESCRIPTION)
    pieces = list(packed_pieces(ARRAYS, DESCRIPTION))
    assert b"".join(pieces) == whole
    assert max(map(len, pieces[1:])) <= 40  # a row may be longer than a piece
    path = tmp_path / "packed"
    path.write_bytes(whole)
    arrays, description = open_packed(path)
    assert description == DESCRIPTION
    assert arrays.keys() == ARRAYS.keys()
    for name, array in arrays.items():
        assert array.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert (array.size == 0) or isinstance(array.base, np.memmap)
    arrays["labels"][0] = 9  # of this process alone
    assert path.read_bytes() == whole
