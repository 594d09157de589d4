"""Ten thousand broken files: each is read or refused by one clear error, within limits, and nothing is left behind."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from royalty.flows.configuration import ConfigError
from royalty.models.base.errors import InputError
from tests.brought import kinds, limited, write_pictures

CASES = {
    "metadata.csv": 800,
    "metadata.jsonl": 800,
    "metadata.parquet": 600,
    "items.npz": 700,
    "items.parquet": 600,
    "set.parquet": 600,
    "data.arrow": 600,
    "state.json": 600,
    "contributors.csv": 600,
    "consent.csv": 400,
    "c.yaml": 600,
    "terms.yaml": 700,
    "use.csv": 600,
    "use.parquet": 600,
    "4.png": 200,
    "4.jpg": 200,
    "4.gif": 200,
    "4.tif": 200,
    "4.webp": 200,
    "4.bmp": 200,
}
"""Broken files of each kind."""
BESIDE = {"consent.csv": "metadata.csv", "data.arrow": "state.json", "state.json": "data.arrow"}
"""Whole files that these need beside them."""
SOME = 40
"""Of them in every run of the suite."""
PLACES = 4
"""Places of a file at which each drawn change is made, one after the other; drawing takes longer than most readers."""
SPAN = 2**16
Changes = list[tuple[int, int | None, bytes | int]]
TRAPS = (
    b"\0", b'"', b"\n", b"\xff\xfe", b"\xed\xa0\x80", b"{", b"[" * 50, b"9" * 400, b"1e999", b"-1", b"NaN", b"../",
    b"~x/", b"&a *a",
    b"!!python/object:x ", b"\xe2\x80\x8b", b"\x1b[31m", b"PK\x03\x04", b"PAR1",
)  # fmt: skip
CHANGES = st.lists(
    st.tuples(
        st.integers(0, SPAN - 1),
        st.sampled_from([None, None, 0, 1, 4, 30]),
        st.one_of(st.binary(max_size=8), st.sampled_from(TRAPS), st.integers(2, 50)),
    ),
    min_size=1,
    max_size=4,
)
"""Changes of a file: where, as a fraction of `SPAN`; how many bytes (None: as many as replace them); and what replaces
them, or how often they repeat."""


def test_there_are_ten_thousand_cases_of_every_kind() -> None:
    assert CASES.keys() == kinds().keys()
    assert sum(CASES.values()) == 10_000


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, on damaged metadata
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "every"])
@pytest.mark.parametrize("name", CASES)
def test_a_broken_file_is_read_or_refused_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, every: bool
) -> None:
    folder, scratch = tmp_path / "brought", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    files = kinds()
    if name.startswith("metadata") or name == "consent.csv":
        write_pictures(folder)
    if name in BESIDE:
        (folder / BESIDE[name]).write_bytes(files[BESIDE[name]][0])
    content, read = files[name]
    file = folder / name
    file.write_bytes(content)
    read(file)  # as it is, it is read
    cases = CASES[name] if every else SOME
    outcomes: list[bool] = []
    before, opened = sorted(tmp_path.rglob("*")), _opened()

    @settings(
        max_examples=cases // PLACES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(CHANGES)
    def check(changes: Changes) -> None:
        for turn in range(PLACES):
            written = broken(content, changes, turn * SPAN // PLACES)
            file.write_bytes(written)
            try:
                with limited():
                    read(file)
            except (InputError, ConfigError):
                outcomes.append(False)
            else:
                outcomes.append(True)
            assert file.read_bytes() == written

    check()
    assert len(outcomes) == cases
    assert not all(outcomes)
    assert sorted(tmp_path.rglob("*")) == before
    gc.collect()
    assert _opened() <= opened


def broken(content: bytes, changes: Changes, further: int) -> bytes:
    """The content with some of its bytes changed, repeated, left out, or replaced by what readers stumble over.

    Args:
        further: fraction of `SPAN` by which all places lie further on, or around.
    """
    written = bytearray(content)
    for place, length, piece in changes:
        start = (place + further) % SPAN * (len(written) + 1) // SPAN
        stop = start + (length if length is not None else 1 if isinstance(piece, int) else len(piece))
        written[start:stop] = bytes(written[start:stop]) * piece if isinstance(piece, int) else piece
    return bytes(written)


def _opened() -> int:
    """Files that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
