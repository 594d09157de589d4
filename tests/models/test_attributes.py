"""Attributes from columns: CelebA's words in a folder and in Parquet, in the order in which images are read."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from royalty.models.base.errors import InputError
from royalty.models.data.attributes import read_attributes
from royalty.models.data.labelled import read_items
from tests.conftest import save_digits

ROWS = ("sub/1.png,1,yes", "0.png,-1,no", "2.png,1, TRUE ")


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    save_digits(tmp_path / "faces", ["ann", "bob", "ann"])
    (tmp_path / "faces" / "metadata.csv").write_text("\n".join(("\ufefffile_name,smiling,hat", *ROWS)) + "\n")
    return tmp_path / "faces"


def test_columns_are_read_in_the_order_of_the_images(faces: Path) -> None:
    found = read_attributes(faces, ("hat", "smiling"), needed=True)
    assert found is not None
    assert {name: has.tolist() for name, has in found.items()} == {
        "hat": [True, False, True],
        "smiling": [True, False, True],
    }
    ids = read_items(faces, size=8).ids
    (faces / "metadata.csv").write_text("file_name,smiling\n0.png,-1\nsub/1.png,1\n2.png,1\n")
    assert read_items(faces, size=8).ids == (ids[1], ids[0], ids[2])
    assert read_attributes(faces, ("smiling",), needed=True)["smiling"].tolist() == [False, True, True]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_folder_may_have_its_table_as_json_lines_or_parquet(faces: Path, kind: str) -> None:
    smiles = {"0.png": -1, "sub/1.png": 1, "2.png": 0}
    rows = [{"file_name": name, "smiling": cell, "hat": cell == 1} for name, cell in smiles.items()]
    (faces / "metadata.csv").unlink()
    if kind == "jsonl":
        (faces / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    else:
        pq.write_table(pa.Table.from_pylist(rows), faces / "metadata.parquet")
    found = read_attributes(faces, ("hat", "smiling"), needed=True)
    assert [has.tolist() for has in found.values()] == [[False, True, False]] * 2
    assert read_attributes(faces, ("beard",), needed=False) is None
    with pytest.raises(InputError, match=f"metadata.{kind} has no column beard; it has file_name, smiling, hat"):
        read_attributes(faces, ("beard",), needed=True)


def test_columns_of_parquet_may_be_numbers_and_answers(tmp_path: Path) -> None:
    table = pa.table({"smiling": pa.array([1, -1, 0], pa.int8()), "hat": [True, False, True], "img": [b"", b"", b""]})
    pq.write_table(table, tmp_path / "faces.parquet")
    found = read_attributes(tmp_path / "faces.parquet", ("smiling", "hat"), needed=True)
    assert [has.tolist() for has in found.values()] == [[True, False, False], [True, False, True]]


def test_images_without_any_of_the_columns_have_no_attributes(faces: Path, tmp_path: Path) -> None:
    assert read_attributes(faces, ("beard", "mask"), needed=False) is None
    bare = tmp_path / "bare"
    bare.mkdir()
    assert read_attributes(bare, ("smiling",), needed=False) is None


@pytest.mark.parametrize(
    ("names", "needed", "message"),
    [
        (("beard",), True, r"metadata.csv has no column beard; it has file_name, smiling, hat\. Add a column"),
        (("smiling", "beard"), False, "has no column beard"),
        (
            ("file_name",),
            True,
            r"row 2: the attribute 'file_name' is 'sub/1\.png'; write 1, true or yes",
        ),
    ],
)
def test_columns_that_say_nothing_are_refused(faces: Path, names: tuple[str, ...], needed: bool, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_attributes(faces, names, needed=needed)


def test_an_empty_cell_is_named(faces: Path) -> None:
    (faces / "metadata.csv").write_text("file_name,hat\n0.png,1\nsub/1.png,\n2.png,0\n")
    with pytest.raises(InputError, match="row 3: the attribute 'hat' is ''"):
        read_attributes(faces, ("hat",), needed=True)
