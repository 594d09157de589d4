"""Every bad folder gets one error that names the file, the row and the remedy."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pyarrow.csv import read_csv as read_table

from royalty.models.base.errors import InputError
from royalty.models.data import decoding
from royalty.models.data.credited import read_images
from royalty.models.data.folder import list_images, read_manifest
from royalty.models.data.items import Splits, item_id
from royalty.models.data.labelled import read_items

HEADER = "file_name,contributor,label\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve greyscale images, two labels, of ann, bob and both."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(12):
        pixels = generator.integers(0, 256, (10, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        rows.append(f"{index}.png,{('ann', 'bob', 'ann;bob')[index % 3]},{'xy'[index % 2]}")
    (tmp_path / "metadata.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return tmp_path


def read(folder: Path) -> Splits:
    return read_images(read_manifest(folder), size=8, validation=0.2, classifier=0.2, seed=0).in_memory()


def test_folder_is_read(folder: Path) -> None:
    splits = read(folder)
    assert splits.train.contributors == ("ann", "bob")
    assert splits.train.label_names == ("x", "y")
    assert splits.train.images.shape[1:] == (1, 8, 8)
    assert len(splits.train) + len(splits.validation) + len(splits.classifier) == 12


def test_colour_of_other_sizes_is_cropped_and_resized(folder: Path) -> None:
    for index in range(12):
        wide = np.full((20, 40, 3), 20 * index, np.uint8)
        wide[:, 10:30] = (255, 5 * index, 0)
        Image.fromarray(wide).save(folder / f"{index}.png")
    images = read(folder).train.images
    assert images.shape[1:] == (3, 8, 8)
    assert (images[:, 0] > 235).all(), "the centred square is what is kept"


def test_digest_covers_pixels_names_and_contributors(folder: Path) -> None:
    first = read_manifest(folder).digest()
    assert read_manifest(folder).digest() == first
    metadata = (folder / "metadata.csv").read_text()
    (folder / "metadata.csv").write_text(metadata.replace("ann;bob", "ann", 1))
    assert read_manifest(folder).digest() != first
    (folder / "metadata.csv").write_text(metadata)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "3.png")
    assert read_manifest(folder).digest() != first


def append(row: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / "metadata.csv").open("a") as stream:
            stream.write(row + "\n")

    return change


def rewrite(content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "metadata.csv").write_bytes(content) and None


def truncate(folder: Path) -> None:
    path = folder / "4.png"
    path.write_bytes(path.read_bytes()[:60])


def bomb(folder: Path) -> None:
    """A PNG whose header claims 60,000 by 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    parts = [
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", header),
        chunk(b"IDAT", zlib.compress(b"\0" * 1000)),
        chunk(b"IEND", b""),
    ]
    (folder / "4.png").write_bytes(b"".join(parts))


def contributors(names: str) -> Callable[[Path], None]:
    rows = "".join(f"{name},{name}\n" for name in names.split())
    return lambda folder: (folder / "contributors.csv").write_text("contributor,name\n" + rows) and None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "metadata.csv").unlink(), r"metadata\.csv does not exist; write it"),
        (rewrite(b""), r"metadata\.csv is empty"),
        (rewrite(HEADER.encode()), r"metadata\.csv is empty"),
        (rewrite(HEADER.encode() + b"0.png,ann,x\n1.png,b\xfcb,y\n"), r"row 3: not UTF-8"),
        (rewrite(b"file_name,label\n0.png,x\n"), r"row 1: no column contributor; add it.*There are file_name, label"),
        (rewrite(HEADER.encode() + b"0.png,ann\n"), r"row 2: not as many values"),
        (rewrite(HEADER.encode() + b'0.png,"ann,x\n'), r"row 2: not CSV"),
        (append("12.png,ann,x"), r"row 14: there is no file '12\.png'.*drop the row"),
        (append("3.png,ann,x"), r"row 14: '3\.png' is listed in row 5 already"),
        (append("./3.png,ann,x"), r"row 14: '\./3\.png' is listed in row 5 already"),
        (append("../secret.png,ann,x"), r"row 14: '\.\./secret\.png' is outside the folder"),
        (append("/etc/hostname,ann,x"), r"row 14: '/etc/hostname' is outside the folder"),
        (append(",carol,x"), r"row 14: contributor 'carol' has no image"),
        (append("5.png,,x"), r"row 14: every image has a contributor"),
        (
            rewrite(HEADER.encode() + b"0.png,ann,x\n1.png,bob,\n"),
            r"row 3: '1\.png': no label, and the property or generator of this run needs a label",
        ),
        (rewrite(b"file_name,contributor,lable\n0.png,ann,x\n"), r"unknown column 'lable'; did you mean 'label'"),
        (append("5.png,ann;ann,x"), r"row 14: contributor listed twice"),
        (rewrite(HEADER.encode() + b"0.png,ann,x\n1.png,ann,y\n"), r"at least 2 contributors, and there is 1 \(ann\)"),
        (contributors("ann bob carol"), r"contributors\.csv, row 4: contributor 'carol' has no image"),
        (contributors("ann"), r"contributors\.csv: no row for 'bob' of .*; add a row for each contributor"),
        (append("x" * 300 + ".png,ann,x"), r"row 14: cannot open 'x+' \(File name too long\)"),
        (
            rewrite(HEADER.encode() + b"0.png,ann,x\n1.png,bob,x\n2.png,bob,x\n"),
            r"every image has the label 'x'; label what",
        ),
        (truncate, r"row 6: '4\.png' cannot be read as an image"),
        (lambda folder: (folder / "4.png").write_bytes(b"") and None, r"row 6: '4\.png' is an empty file"),
        (lambda folder: (folder / "4.png").write_text("hello") and None, r"row 6: '4\.png' cannot be read"),
        (
            lambda folder: Image.new("F", (8, 8)).save(folder / "4.png", "TIFF"),
            r"row 6: '4\.png' has mode F, whose range .*Save it as",
        ),
        (bomb, r"row 6: '4\.png' unpacks to more than .* pixels"),
    ],
)
def test_bad_input(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=message):
        read(folder)


def test_all_unusable_files_are_named_at_once(folder: Path) -> None:
    for name in ("0.png", "4.png", "9.png"):
        (folder / name).write_text("hello")
    with pytest.raises(InputError, match=r"^3 images of .*metadata\.csv cannot be used:\n") as refusal:
        read(folder)
    assert [line.split(": '")[1].split("'")[0] for line in str(refusal.value).splitlines()[1:]] == [
        "0.png",
        "4.png",
        "9.png",
    ]
    for index in range(12):
        (folder / f"{index}.png").write_text("hello")
    with pytest.raises(InputError, match=r"^12 images of .* cannot be used \(the first 10 are listed\):\n") as refusal:
        read(folder)
    assert len(str(refusal.value).splitlines()) == 11


def test_all_unusable_rows_are_named_at_once(folder: Path) -> None:
    append("none.png,ann,x\nnor.png,bob,y\n3.png,ann,x")(folder)
    with pytest.raises(
        InputError, match=r"^3 rows of .*cannot be used:\n- .*'none\.png'.*\n- .*'nor.*\n- .*'3\.png' is"
    ):
        read(folder)


MODES: dict[str, tuple[Image.Image, np.ndarray]] = {
    "one bit": (Image.fromarray(np.eye(8, dtype=bool)), np.eye(8, dtype=np.uint8) * 255),
    "grey and transparent": (Image.new("LA", (8, 8), (9, 0)), np.full((8, 8), 255, np.uint8)),
    "sixteen bits": (Image.fromarray(np.full((8, 8), 0x1234, np.uint16)), np.full((8, 8), 0x12, np.uint8)),
    "half transparent": (Image.new("RGBA", (8, 8), (0, 100, 255, 51)), np.tile(np.uint8([204, 224, 255]), (8, 8, 1))),
    "palette": (Image.new("RGB", (8, 8), (9, 8, 7)).quantize(2), np.tile(np.uint8([9, 8, 7]), (8, 8, 1))),
    "print colours": (Image.new("CMYK", (8, 8), (255, 0, 0, 0)), np.tile(np.uint8([0, 255, 255]), (8, 8, 1))),
}


@pytest.mark.parametrize("kind", MODES)
def test_every_mode_is_converted_by_one_rule_in_runs_and_in_valuations(folder: Path, kind: str) -> None:
    image, expected = MODES[kind]
    image.save(folder / "4.png", "TIFF" if image.mode == "CMYK" else "PNG")
    parts = [part for part in vars(read(folder)).values() if item_id(expected) in part.ids]
    assert len(parts) == 1
    kept = parts[0].images[parts[0].ids.index(item_id(expected))]
    shown = expected.transpose(2, 0, 1) if expected.ndim == 3 else expected[None]
    np.testing.assert_array_equal(kept, shown)
    valued = read_items(folder, size=8)
    assert valued.ids[4] == item_id(expected)
    assert valued.images is not None
    np.testing.assert_array_equal(valued.images[4], shown)


def test_colour_among_greyscale_leaves_the_ids_of_the_others(folder: Path) -> None:
    before = {identity for part in vars(read(folder)).values() for identity in part.ids}
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / "4.png")
    parts = vars(read(folder)).values()
    assert all(part.images.shape[1] == 3 for part in parts)
    assert len(before & {identity for part in parts for identity in part.ids}) == 11


def test_link_out_of_the_folder_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    Image.new("L", (8, 8)).save(elsewhere)
    (folder / "12.png").symlink_to(elsewhere)
    append("12.png,ann,x")(folder)
    with pytest.raises(InputError, match="is outside the folder"):
        read(folder)


def test_metadata_in_other_formats_says_the_same(folder: Path) -> None:
    listed = read_manifest(folder)
    table = read_table(folder / "metadata.csv")
    (folder / "metadata.csv").unlink()
    rows = table.to_pylist()
    for row in rows:
        row["contributor"] = row["contributor"].split(";")  # a list, where the format has lists
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_manifest(folder).digest() == listed.digest()
    pq.write_table(pa.Table.from_pylist(rows), folder / "metadata.parquet")
    with pytest.raises(InputError, match=r"metadata\.jsonl and metadata\.parquet; keep the one"):
        read_manifest(folder)
    (folder / "metadata.jsonl").unlink()
    assert read_manifest(folder).digest() == listed.digest()
    (folder / "metadata.parquet").unlink()
    (folder / "metadata.jsonl").write_text('{"file_name": "0.png"')
    with pytest.raises(InputError, match=r"metadata\.jsonl, row 1: not JSON"):
        read_manifest(folder)


def test_text_and_license_are_carried_and_texts_asked_for(folder: Path) -> None:
    lines = (folder / "metadata.csv").read_text().split()
    header, first, *others = lines
    said = [f"{first},a wave,CC0", *(f"{row},a dune,CC-BY" for row in others)]
    (folder / "metadata.csv").write_text("\n".join([f"{header},text,license", *said]))
    listing = read_manifest(folder, texts=True)
    assert listing.licenses() == {"CC-BY": 11, "CC0": 1}
    parts = vars(read(folder)).values()
    assert sorted(text for part in parts for text in part.texts) == ["a dune"] * 11 + ["a wave"]
    (folder / "metadata.csv").write_text("\n".join([f"{header},text,license", *said[:-1], f"{others[-1]},,"]))
    assert read_manifest(folder).licenses()[""] == 1
    with pytest.raises(InputError, match=r"row 13.*no text, and the generator needs a caption"):
        read_manifest(folder, texts=True)


def test_an_empty_list_of_images_to_be_valued_needs_no_contributors(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file_name\n")
    with pytest.raises(InputError, match=r"metadata\.csv is empty; list images in it"):
        list_images(folder)


def test_labels_are_needed_only_by_what_judges_by_them(folder: Path) -> None:
    lines = [row.rsplit(",", 1)[0] for row in (folder / "metadata.csv").read_text().split()]
    (folder / "metadata.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match="no column label"):
        read_manifest(folder)
    listing = read_manifest(folder, labels=False)
    splits = read_images(listing, size=8, validation=0.2, classifier=0.2, seed=0).in_memory()
    assert splits.train.label_names == ("",)


def test_workers_and_processes_change_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "FEW", 5)
    monkeypatch.setattr(decoding, "CHUNK", 5)
    listing, seen = read_manifest(folder), []
    alone = decoding.decode_images(listing, size=8)
    several = decoding.decode_images(listing, size=8, workers=2, folder=folder, progress=seen.append)
    np.testing.assert_array_equal(alone[0], several[0])
    assert alone[1] == several[1]
    assert sum(seen) == 12
    assert not list(folder.glob(".decoding-*"))
    (folder / "11.png").write_text("hello")
    with pytest.raises(InputError, match=r"row 13: '11\.png' cannot be read"):
        decoding.decode_images(listing, size=8, workers=2)
