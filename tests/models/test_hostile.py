"""Files that nobody meant to be read: each is one clear error, at once, or is read."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from royalty.flows.configuration import ConfigError, load_config, load_payout_config
from royalty.models.base.errors import InputError
from royalty.models.base.reading import LARGEST_IMAGE, LONGEST_LINE
from royalty.models.data.folder import list_images, read_manifest
from royalty.models.data.labelled import read_items
from royalty.models.payout.payees import read_payees
from royalty.tasks.pay.usage_reading import ByImage, of_file

SECONDS = 20.0
"""Of the clock, which a reader may take for one small file, however busy the machine is."""
MEMORY = 2**30
"""Bytes of address space, which a reader may take for one small file."""
ROWS = [{"file_name": f"{place}.png", "contributor": "ab"[place % 2], "label": "xy"[place // 2]} for place in range(4)]
CSV = "file_name,contributor,label\n" + "".join(",".join(row.values()) + "\n" for row in ROWS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in range(4):
        Image.new("L", (8, 8), place * 40).save(tmp_path / f"{place}.png")
    return tmp_path


def line(**changed: object) -> str:
    return "\n".join(json.dumps(row) for row in [{**ROWS[0], **changed}, *ROWS[1:]])


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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: {source: folder, path: ~nosuchuser/x}", "nobody on this machine is '~nosuchuser'"),
        ('data: {source: folder, path: "a\\0b"}', "no zero character"),
        ("data: {source: digits}\npayout: {pool: 999999999999999999}", r"a pool is at most 90071992547409\.92 EUR"),
        ("data: {source: digits}\npayout: {pool: .nan}", "finite"),
        ("? [a, b]\n: 1", "a key is a text"),
    ],
)
def test_configurations_that_cannot_be_meant(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_config(tmp_path / "c.yaml")


def seeds(folder: Path) -> dict[str, tuple[bytes, Callable[[Path], object]]]:
    """A file of each kind that people bring, and its reader."""
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    pq.write_table(pa.table(columns), folder / "t.parquet")
    np.savez(folder / "t.npz", features=np.eye(4, dtype=np.float32), labels=np.arange(4) % 2)
    payees = b"contributor,name,payee,currency\nann,Ann,DE89370400440532013000,EUR\n"
    return {
        "metadata.csv": (CSV.encode(), lambda file: read_manifest(file.parent)),
        "metadata.jsonl": (line().encode(), lambda file: read_manifest(file.parent)),
        "metadata.parquet": ((folder / "t.parquet").read_bytes(), lambda file: read_manifest(file.parent)),
        "items.npz": ((folder / "t.npz").read_bytes(), lambda file: read_items(file, size=8)),
        "contributors.csv": (payees, read_payees),
        "c.yaml": (b"data: {source: digits}\npayout: {pool: 10, floor: 0.1}\n", load_config),
        "terms.yaml": (b"pool: 10\npolicy: proportional\n", lambda file: load_payout_config(file, {}, {}, {})),
        "use.csv": (
            b"id,time,revenue,contributor,share\n1,2026-05-01,0.10,ann,0.25\n1,2026-05-01,0.10,bob,0.75\n",
            use,
        ),
    }


def use(file: Path) -> object:
    """Read a log of use in May."""
    return of_file(file, date(2026, 5, 1), date(2026, 6, 1), ["ann", "bob"], ByImage(None, "letters", "1"))


@contextmanager
def limited() -> Iterator[None]:
    """Allow a reader some seconds and some memory more than this process has; beyond that it fails."""

    def stop(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"a reader took more than {SECONDS} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def broken(content: bytes, draw: random.Random) -> bytes:
    """The content with some of its bytes changed, repeated, left out, or replaced by what readers stumble over."""
    written = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(written) + 1)
        stop = min(len(written), start + draw.choice([0, 1, 1, 4, 30]))
        written[start:stop] = draw.choice(
            [
                b"",
                bytes(draw.randrange(256) for _ in range(draw.randint(1, 8))),
                bytes(written[start:stop]) * draw.randint(2, 50),
                draw.choice(TRAPS),
            ]
        )
    return bytes(written)


TRAPS = (
    b"\0", b'"', b"\n", b"\xff\xfe", b"\xed\xa0\x80", b"{", b"[" * 50, b"9" * 400, b"1e999", b"-1", b"NaN", b"../",
    b"~x/", b"&a *a",
    b"!!python/object:x ", b"\xe2\x80\x8b", b"\x1b[31m", b"PK\x03\x04", b"PAR1",
)  # fmt: skip


@pytest.mark.parametrize("cases", [60, pytest.param(1300, marks=pytest.mark.slow)], ids=["some", "ten-thousand-in-all"])
@pytest.mark.parametrize(
    "name",
    [
        "metadata.csv",
        "metadata.jsonl",
        "metadata.parquet",
        "items.npz",
        "contributors.csv",
        "c.yaml",
        "terms.yaml",
        "use.csv",
    ],
)
def test_a_broken_file_is_read_or_refused_and_left_as_it_was(folder: Path, name: str, cases: int) -> None:
    content, read = seeds(folder)[name]
    for scrap in ("t.parquet", "t.npz"):
        (folder / scrap).unlink()
    read(written(folder / name, content))  # as it is, it is read
    before = sorted(folder.iterdir())
    refused = 0
    for case in range(cases):
        file = written(folder / name, broken(content, random.Random(case)))
        try:
            with limited():
                read(file)
        except (InputError, ConfigError):
            refused += 1
        except Exception as error:
            raise AssertionError(f"case {case}: {file.read_bytes()[:300]!r}") from error
    assert 0 < refused < cases or name in ("metadata.parquet", "items.npz")
    assert sorted(folder.iterdir()) == before


def written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def test_the_limits_stop_a_hang_and_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MemoryError), limited():
        bytearray(2 * MEMORY)
    monkeypatch.setattr("tests.models.test_hostile.SECONDS", 0.01)
    with pytest.raises(TimeoutError, match="took more than"), limited():
        time.sleep(SECONDS)
