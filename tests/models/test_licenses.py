"""Images are kept by a list of licenses; the others are an error with their numbers, or left out by choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from royalty.models.base.errors import InputError
from royalty.models.data.columns import Columns, parquet_images
from royalty.models.data.decoding import decode_images
from royalty.models.data.folder import read_manifest
from royalty.models.data.licenses import licensed
from royalty.models.data.listing import DecodedImages, Entry, Listing

GIVEN = ("CC0", "CC-BY-NC", "cc0", "", "CC-BY-NC", "CC0")
OWNERS = ("ann", "bob", "ann", "cy", "bob", "dee")


@pytest.fixture
def listing() -> Listing:
    entries = tuple(
        Entry(f"row {row}", (owner,), license=name) for row, (owner, name) in enumerate(zip(OWNERS, GIVEN, strict=True))
    )
    return Listing("photos", entries, DecodedImages(np.repeat(np.arange(6, dtype=np.uint8), 64).reshape(6, 8, 8)))


def test_every_license_is_allowed_without_a_list(listing: Listing) -> None:
    assert licensed(listing, None, leave_out=False).listing is listing
    assert licensed(listing.take(np.array([0, 2])), ["CC0"], leave_out=False).left_out == {}


def test_others_are_an_error_with_their_numbers(listing: Listing) -> None:
    with pytest.raises(InputError) as refused:
        licensed(listing, ["CC0", "CC-BY"], leave_out=False)
    assert str(refused.value) == (
        "photos: `licences.allow` lists the licenses that images may have, CC0, CC-BY; 3 of 6 images have another: "
        "CC-BY-NC (2), unknown (1). The first is row 1. Allow these licenses, or leave such images out with `licences: "
        "{others: leave-out}`"
    )


def test_others_are_left_out_and_counted(listing: Listing) -> None:
    kept = licensed(listing, ["cc0 "], leave_out=True)
    assert [entry.where for entry in kept.listing.entries] == ["row 0", "row 2", "row 5"]
    assert decode_images(kept.listing, size=8)[0][:, 0, 0, 0].tolist() == [0, 2, 5]
    assert kept.left_out == {"CC-BY-NC": 2, "": 1}
    assert kept.without == ("bob", "cy")


@pytest.mark.parametrize("allow", [["GPL"], []])
def test_nothing_is_left(listing: Listing, allow: list[str]) -> None:
    with pytest.raises(InputError, match=r"no image has one of these, but CC0 \(2\), CC-BY-NC \(2\), cc0 \(1\)"):
        licensed(listing, allow, leave_out=True)


def test_folders_and_tables_keep_the_images_of_the_rows_that_are_left(tmp_path: Path) -> None:
    rows = ["file_name,contributor,label,license"]
    for number, (owner, name) in enumerate(zip(OWNERS, GIVEN, strict=True)):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{owner},{'xy'[number % 2]},{name}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    payloads = [(tmp_path / f"{number}.png").read_bytes() for number in range(6)]
    columns = {"image": payloads, "contributor": OWNERS, "license": GIVEN}
    pq.write_table(pa.table({name: list(column) for name, column in columns.items()}), tmp_path / "images.parquet")
    for whole in (read_manifest(tmp_path, labels=False), parquet_images(tmp_path / "images.parquet", Columns())):
        kept = licensed(whole, ["CC0"], leave_out=True).listing
        assert decode_images(kept, size=8)[0][:, 0, 0, 0].tolist() == [0, 2, 5]
        assert kept.digest() != whole.digest()
        assert kept.licenses() == {"CC0": 2, "cc0": 1}
