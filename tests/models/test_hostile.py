"""Files that nobody meant to be read: each is one clear error, at once, or is read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from royalty.flows.configuration import ConfigError, load_config
from royalty.models.base.errors import InputError
from royalty.models.base.reading import LARGEST_IMAGE, LONGEST_LINE
from royalty.models.data.columns import Columns, parquet_images
from royalty.models.data.folder import list_images, read_manifest
from royalty.models.data.labelled import list_items, read_items
from royalty.models.payout.payees import read_payees
from tests.brought import CSV, MEMORY, ROWS, SECONDS, kinds, limited, line, use, write_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pictures(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("[" * 100_000, "row 1: no record of an image"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "row 1: no record of an image"),
        (line().replace('"x"', "9" * 5000, 1), "row 1: no record of an image"),
        (line().replace('"label": "x"', '"label": "x", "label": "y"', 1), "row 1: .* 'label' is there again"),
        (line(file_name="\ud800.png"), r"row 1: '\\ud800.png' cannot be the name of a file"),
        (line(file_name="\0.png"), r"row 1: '\\x00.png' cannot be the name of a file"),
        (line(file_name="loop.png"), "row 1: 'loop.png' cannot be the name of a file"),
        (line(file_name={"a": 1}), "row 1: `file_name` is one text, and this is a dict"),
        (line(contributor=[["a"]]), "row 1: a contributor is a name"),
        (line(contributor={"a": 1}), "row 1: a contributor is a name"),
        (line(contributor="a\u202eb"), "row 1: a name has no format characters"),
    ],
)
def test_rows_that_are_no_images(folder: Path, written: str, says: str) -> None:
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "metadata.jsonl").write_text(written)
    with pytest.raises(InputError, match=says):
        read_manifest(folder)


@pytest.mark.parametrize(("kind", "says"), [("csv", "is no file"), ("jsonl", "is none"), ("parquet", "is none")])
def test_metadata_that_is_no_file_is_not_waited_for(folder: Path, kind: str, says: str) -> None:
    os.mkfifo(folder / f"metadata.{kind}")
    with pytest.raises(InputError, match=rf"metadata\.{kind} {says}"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("name", "read", "says"),
    [
        *(
            (f"metadata.{kind}", lambda file: read_manifest(file.parent), "a table has at most 1 GiB, and .* has 3 GiB")
            for kind in ("csv", "jsonl", "parquet")
        ),
        ("contributors.csv", read_payees, "a table has at most 1 GiB"),
        ("use.csv", lambda file: use(file), "a table has at most 1 GiB"),
        ("use.parquet", lambda file: use(file), "a table has at most 1 GiB"),
        ("c.yaml", load_config, r"a configuration has at most 3\.81 MiB, and .*c\.yaml has 3 GiB"),
        ("0.png", lambda file: list_images(file.parent), "the file of an image has at most 512 MiB"),
        ("items.npz", lambda file: read_items(file, size=8), "cannot be read as plain arrays"),
    ],
)
def test_files_that_are_too_large_are_not_read(
    folder: Path, name: str, read: Callable[[Path], object], says: str
) -> None:
    with (folder / name).open("wb") as stream:
        stream.truncate(3 * 2**30)
    started = time.monotonic()
    with limited(), pytest.raises((InputError, ConfigError), match=says):
        read(folder / name)
    assert time.monotonic() - started < SECONDS / 4


@pytest.mark.parametrize("header", [b"{'descr':\n", b"{'descr': '<f8', 'shape': (\n", b"\\\n"])
def test_headers_of_arrays_that_do_not_end(tmp_path: Path, header: bytes) -> None:
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with ZipFile(tmp_path / "items.npz", "w") as archive:
        archive.writestr("features.npy", array)
    with pytest.raises(InputError, match="cannot be read as plain arrays"):
        read_items(tmp_path / "items.npz", size=8)


def test_an_image_that_is_too_large_is_named_with_its_row(folder: Path) -> None:
    (folder / "metadata.csv").write_text(CSV)
    with (folder / "2.png").open("wb") as stream:
        stream.truncate(LARGEST_IMAGE + 1)
    with pytest.raises(InputError, match=r"row 4: the file of an image has at most 512 MiB, and .*2\.png has 512 MiB"):
        read_manifest(folder)


def test_lines_are_read_one_at_a_time(folder: Path) -> None:
    (folder / "metadata.csv").write_bytes(b"a" * (LONGEST_LINE + 1))
    with pytest.raises(InputError, match=r"row 1: a line has at most 16,777,216 characters"):
        read_manifest(folder)
    rows = CSV.encode() + b"x" * 20_000 + b",a,x\n3\xff.png,a,x\n"
    (folder / "metadata.csv").write_bytes(rows)
    with pytest.raises(InputError, match="row 7: not UTF-8"):
        read_manifest(folder)
    (folder / "metadata.csv").unlink()
    (folder / "metadata.jsonl").write_text(line(text="one\u2028two").replace("\\u2028", "\u2028"), encoding="utf-8")
    assert read_manifest(folder).entries[0].text == "one\u2028two"  # a line ends with a line break, and with no other


def test_tables_of_other_things(folder: Path) -> None:
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    pq.write_table(pa.table({**columns, "contributor": [{"a": 1}] * 4}), folder / "metadata.parquet")
    with pytest.raises(InputError, match="a contributor is a name"):
        read_manifest(folder)
    twice = [*columns, "label"]
    pq.write_table(
        pa.Table.from_arrays([pa.array(columns[name]) for name in twice], twice), folder / "metadata.parquet"
    )
    with pytest.raises(InputError, match="Multiple matches"):
        read_manifest(folder)


@pytest.mark.parametrize("cell", [5, [1, 2], "abc", {"a": 1}])
def test_images_of_other_things_than_bytes(tmp_path: Path, cell: object) -> None:
    columns = {"image": [{"bytes": cell, "path": "x"}] * 4, "contributor": list("abab"), "label": list("xxyy")}
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    for read in (list_items, lambda file: parquet_images(file, Columns())):
        with pytest.raises(InputError, match="has 0 columns of encoded images"):
            read(tmp_path / "set.parquet")
    with pytest.raises(InputError, match="column 'image' holds struct"):
        parquet_images(tmp_path / "set.parquet", Columns(image="image"))


def test_two_columns_that_look_like_one(folder: Path) -> None:
    (folder / "metadata.csv").write_text(
        CSV.replace("contributor,", "contributor,Contributor,", 1).replace(".png,", ".png,x,")
    )
    with pytest.raises(InputError, match="'Contributor' and 'contributor' look like one column"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: {source: folder, path: ~nosuchuser/x}", "nobody on this machine is '~nosuchuser'"),
        ('data: {source: folder, path: "a\\0b"}', "no zero character"),
        ("data: {source: digits}\npayout: {pool: 999999999999999999}", r"a pool is at most 90071992547409\.92 EUR"),
        ("data: {source: digits}\npayout: {pool: .nan}", "finite"),
        ("? [a, b]\n: 1", "a key is a text"),
        (
            "data: {source: digits}\nclassifier: {steps: true}",
            r"`classifier`: .*`steps` is no truth value \(got True\)",
        ),
        ("data: {source: digits}\npayout: {pool: yes}", r"`payout.pool`: .*valid decimal"),
    ],
)
def test_configurations_that_cannot_be_meant(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_config(tmp_path / "c.yaml")


def test_the_limits_stop_a_hang_and_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MemoryError), limited():
        bytearray(2 * MEMORY)
    monkeypatch.setattr("tests.brought.SECONDS", 0.01)
    with pytest.raises(TimeoutError, match="took more than"), limited():
        time.sleep(SECONDS)


def test_an_arrow_stream_whose_names_of_columns_are_no_text(tmp_path: Path) -> None:
    files = kinds()
    stream, read = files["data.arrow"]
    (tmp_path / "state.json").write_bytes(files["state.json"][0])
    (tmp_path / "data.arrow").write_bytes(stream.replace(b"contributor", b"\x80ontributor"))
    with pytest.raises(InputError, match="cannot be read as an Arrow stream"):
        read(tmp_path / "data.arrow")
