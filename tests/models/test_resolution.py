"""The size at which networks see images follows the images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from royalty.models.base.resolution import resolution_of
from royalty.models.data.labelled import typical_side
from royalty.models.valuation.centring import centred
from royalty.tasks.config.matching import Matching
from royalty.tasks.items.reading import common_side


def test_five_times_the_side_in_steps_of_the_network() -> None:
    assert [resolution_of(side) for side in (8, 16, 28, 32, 36, 40, 64, 512)] == [64, 64, 128, 160, 160, 192, 224, 224]
    assert Matching().seen_at((3, 32, 32)) == 160
    assert Matching(resolution=96).seen_at((3, 32, 32)) == 96
    assert Matching().seen_at(None) is None
    for wrong in (33, 0, 256):
        with pytest.raises(ValueError, match="resolution"):
            Matching(resolution=wrong)


def test_images_are_read_at_the_size_of_the_smaller_source(tmp_path: Path) -> None:
    for name, sides in (("large", (300, 90, 100, 110)), ("small", (40, 40, 41, 90)), ("tiny", (4, 5))):
        (tmp_path / name).mkdir()
        for place, side in enumerate(sides):
            Image.new("RGB", (side, side + 7)).save(tmp_path / name / f"{place}.png")
    assert typical_side(tmp_path / "large") == 105  # the median of the shorter sides
    assert common_side(tmp_path / "large", tmp_path / "small") == 40
    assert common_side(tmp_path / "tiny") == 8
    cells = [(tmp_path / "large" / f"{place}.png").read_bytes() for place in range(4)]
    pq.write_table(pa.table({"image": [*cells, b"no image"]}), tmp_path / "images.parquet")
    assert typical_side(tmp_path / "images.parquet") == 105
    np.savez(tmp_path / "features.npz", features=np.ones((3, 4)))
    assert typical_side(tmp_path / "features.npz") is None
    assert typical_side(tmp_path / "nothing") is None


def test_the_mean_of_the_counted_rows_is_subtracted() -> None:
    generator = np.random.default_rng(0)
    train, made = generator.normal(5, 1, (6, 3)), generator.normal(5, 1, (2, 3))
    rows = np.array([0, 2, 5])
    moved, other = centred(train, made, rows)
    np.testing.assert_allclose(moved, train - train[rows].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(other, made - train[rows].mean(axis=0), atol=1e-5)
    np.testing.assert_array_equal(centred(train[:1], made)[0], train[:1])
