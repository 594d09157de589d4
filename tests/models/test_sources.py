"""Image sets in the layouts in which they are distributed, written small."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from royalty.models.base.errors import InputError
from royalty.models.data.artbench import artbench_images
from royalty.models.data.celeba import celeba_images
from royalty.models.data.cifar import CIFAR_20, cifar_images, read_pickle
from royalty.models.data.columns import Columns, dataset_images, parquet_images
from royalty.models.data.credited import copies, read_images
from royalty.models.data.decoding import decode_images
from royalty.models.data.items import ImageSet, item_id
from royalty.models.data.listing import Listing, check_credited
from royalty.models.data.stored import open_set, set_pieces

PICTURES = np.random.default_rng(0).integers(0, 256, size=(12, 8, 8, 3), dtype=np.uint8)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NAMES = json.dumps({"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}})


def encoded(picture: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind)
    return stream.getvalue()


def table(pictures: Sequence[np.ndarray] = tuple(PICTURES), **columns: Any) -> pa.Table:
    """As Hugging Face writes it: a struct with bytes and path, and what the features are called beside the columns."""
    said = {
        "contributor": pa.array(["ann", "bob;cy"] * (len(pictures) // 2)),
        "label": pa.array([0, 1, 1] * (len(pictures) // 3), pa.int64()),
        **columns,
    }
    cells = pa.array([{"bytes": encoded(picture), "path": None} for picture in pictures], IMAGE)
    return pa.table({"image": cells, **said}).replace_schema_metadata({"huggingface": NAMES})


def save_to_disk(folder: Path, whole: pa.Table) -> Path:
    """What `datasets.Dataset.save_to_disk` leaves: Arrow streams, and which they are."""
    folder.mkdir(parents=True)
    parts = {"data-00000-of-00002.arrow": whole.slice(0, 5), "data-00001-of-00002.arrow": whole.slice(5)}
    for name, part in parts.items():
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, whole.schema) as writer:
            writer.write_table(part, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in parts]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def pixels(listing: Listing) -> np.ndarray:
    return decode_images(listing, size=8)[0].transpose(0, 2, 3, 1)


def test_parquet_with_names_of_labels_and_several_contributors(tmp_path: Path) -> None:
    pq.write_table(
        table(text=pa.array([f"picture {n}" for n in range(12)])), tmp_path / "set.parquet", row_group_size=5
    )
    listing = parquet_images(tmp_path / "set.parquet", Columns())
    assert [entry.label for entry in listing.entries] == ["cat", "dog", "dog"] * 4
    assert (listing.entries[1].contributors, listing.entries[1].text) == (("bob", "cy"), "picture 1")
    np.testing.assert_array_equal(pixels(listing), PICTURES)
    by_label = replace(Columns(), contributor="label")
    assert parquet_images(tmp_path, by_label).entries[0].contributors == ("cat",)  # a folder of one file
    some = parquet_images(tmp_path / "set.parquet", Columns(), per_label=2)
    np.testing.assert_array_equal(pixels(some), PICTURES[[0, 1, 2, 3]])
    assert some.digest() != listing.digest()
    later = Listing(listing.origin, listing.entries[4:9], listing.reader)
    np.testing.assert_array_equal(
        [np.asarray(Image.open(io.BytesIO(cell))) for cell in later.reader.cells(4, 9)], PICTURES[4:9]
    )


def test_names_of_labels_may_be_given(tmp_path: Path) -> None:
    pq.write_table(table().replace_schema_metadata(None), tmp_path / "set.parquet")
    columns = replace(Columns(), contributor="label", names=("cat", "dog"))
    assert parquet_images(tmp_path / "set.parquet", columns).entries[2].contributors == ("dog",)


def test_dataset_on_disk_is_what_its_parquet_is(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "set.parquet")
    listed = parquet_images(tmp_path / "set.parquet", Columns())
    save_to_disk(tmp_path / "all" / "train", table())
    (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    for listing in (dataset_images(tmp_path / "all", Columns()), dataset_images(tmp_path / "all" / "train", Columns())):
        assert [replace(entry, where="") for entry in listing.entries] == [replace(e, where="") for e in listed.entries]
        np.testing.assert_array_equal(pixels(listing), PICTURES)
    np.testing.assert_array_equal(
        pixels(dataset_images(tmp_path / "all", Columns(), per_label=3)), PICTURES[[0, 1, 2, 3, 4, 6]]
    )


def test_columns_that_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "set.parquet"
    pq.write_table(table(), file)
    for columns, message in (
        (replace(Columns(), contributor="artist"), "no column artist; add it, or name another. There are image, contr"),
        (replace(Columns(), text="caption"), "no column caption"),
        (replace(Columns(), image="label"), "column 'label' holds int64"),
    ):
        with pytest.raises(InputError, match=message):
            parquet_images(file, columns)
    pq.write_table(table(licence=pa.array(["CC0"] * 12)), file)
    with pytest.raises(InputError, match="unknown column 'licence'; did you mean 'license'"):
        parquet_images(file, Columns())
    with pytest.raises(InputError, match="there is no Parquet file"):
        parquet_images(tmp_path / "none", Columns())
    file.write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        parquet_images(file, Columns())


def test_datasets_that_are_refused(tmp_path: Path) -> None:
    folder = save_to_disk(tmp_path / "set", table())
    (tmp_path / "secret.arrow").write_bytes(b"")
    for state, message in (
        ({"_data_files": [{"filename": "../secret.arrow"}]}, "is outside the folder"),
        ({"_data_files": []}, "lists no data files"),
        ({"_data_files": [{"filename": "state.json"}]}, "cannot be read as an Arrow stream"),
        ({"_indices_data_files": [{"filename": "i.arrow"}]}, "call `flatten_indices`"),
        ([], "must hold a JSON object"),
    ):
        (folder / "state.json").write_text(json.dumps(state))
        with pytest.raises(InputError, match=message):
            dataset_images(folder, Columns())
    with pytest.raises(InputError, match=r"has no state\.json"):
        dataset_images(tmp_path, Columns())
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["test"]}')
    with pytest.raises(InputError, match="has no split 'train'; `split` is one of test"):
        dataset_images(tmp_path, Columns())


def save_archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, payload in members.items():
            described = tarfile.TarInfo(name)
            described.size = len(payload)
            tar.addfile(described, io.BytesIO(payload))
    return path


def planes(images: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(images, 3072), dtype=np.uint8)


def as_python_2(value: Any) -> bytes:
    """The published batches were pickled by Python 2: protocol 2, numpy's old module names."""
    return pickle.dumps(value, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def cifar_10(path: Path) -> tuple[Path, np.ndarray]:
    rows = [planes(4, seed) for seed in range(6)]
    files = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
    members = {
        f"cifar-10-batches-py/{name}": as_python_2({b"data": data, b"labels": [0, 1, 1, 0], b"batch_label": b"x"})
        for name, data in zip(files, rows, strict=True)
    }
    members["cifar-10-batches-py/batches.meta"] = as_python_2({b"label_names": [b"airplane", b"truck"]})
    members["cifar-10-batches-py/readme.html"] = b"<html>"
    return save_archive(path, members), np.concatenate(rows)


def cifar_100(path: Path) -> tuple[Path, np.ndarray]:
    data, groups = planes(12, 7), ["aquatic_mammals", *CIFAR_20]
    batch = {
        b"data": data,
        b"fine_labels": [0, 1, 2, 3, 4, 5] * 2,
        b"coarse_labels": [0, 1, 2, 3, 4, 0] * 2,
    }
    meta = {
        b"fine_label_names": [b"seal", b"bear", b"rose", b"clock", b"bus", b"whale"],
        b"coarse_label_names": [group.encode() for group in groups],
    }
    members = {"train": batch, "test": batch, "meta": meta}
    return save_archive(path, {f"cifar-100-python/{n}": as_python_2(v) for n, v in members.items()}), data


def test_cifar_10(tmp_path: Path) -> None:
    archive, rows = cifar_10(tmp_path / "cifar-10-python.tar.gz")
    listing = cifar_images(archive)
    assert [entry.contributors for entry in listing.entries[:3]] == [("airplane",), ("truck",), ("truck",)]
    images, ids = decode_images(listing, size=32, workers=2)
    np.testing.assert_array_equal(images.reshape(20, -1), rows[:20])  # red, green, blue planes, as they are stored
    assert ids[0] == item_id(rows[0].reshape(3, 32, 32).transpose(1, 2, 0))
    assert len(cifar_images(archive, split="test")) == 4
    assert len(cifar_images(archive, per_label=3)) == 6
    with pytest.raises(InputError, match="is CIFAR-10, and CIFAR-20 is a subset of CIFAR-100"):
        cifar_images(archive, subset=True)


def test_cifar_of_parquet(tmp_path: Path) -> None:
    ten = table(label=pa.array([0, 9, 3] * 4, pa.int64())).drop_columns("contributor").replace_schema_metadata()
    (tmp_path / "ten").mkdir()
    pq.write_table(ten, tmp_path / "ten" / "train-00000-of-00001.parquet")
    pq.write_table(ten.slice(0, 4), tmp_path / "ten" / "test-00000-of-00001.parquet")
    listing = cifar_images(tmp_path / "ten")
    assert [entry.label for entry in listing.entries[:3]] == ["airplane", "truck", "cat"]
    assert listing.entries[2].contributors == ("cat",)
    np.testing.assert_array_equal(pixels(listing), PICTURES)
    assert len(cifar_images(tmp_path / "ten", split="test")) == 4
    assert len(cifar_images(tmp_path / "ten" / "train-00000-of-00001.parquet", per_label=2)) == 6
    with pytest.raises(InputError, match="no `fine_label`, and CIFAR-20 is a subset of CIFAR-100"):
        cifar_images(tmp_path / "ten", subset=True)
    said = {
        "fine_label": ["bus", "otter", "rose"] * 4,
        "coarse_label": ["vehicles_1", "aquatic_mammals", "flowers"] * 4,
    }
    pq.write_table(table(**said).drop_columns(["contributor", "label"]), tmp_path / "hundred.parquet")
    twenty = cifar_images(tmp_path / "hundred.parquet", subset=True, per_label=3)
    assert [entry.label for entry in twenty.entries] == ["bus", "rose"] * 3
    assert not twenty.entries[0].text
    np.testing.assert_array_equal(pixels(twenty), PICTURES[[0, 2, 3, 5, 6, 8]])
    assert len(cifar_images(tmp_path / "hundred.parquet")) == 12
    with pytest.raises(InputError, match="one Parquet file of the split"):
        cifar_images(tmp_path / "ten", split="valid")  # type: ignore[arg-type]


def test_cifar_20_takes_four_superclasses(tmp_path: Path) -> None:
    archive, rows = cifar_100(tmp_path / "cifar-100-python.tar.gz")
    listing = cifar_images(archive, subset=True)
    assert [entry.label for entry in listing.entries] == ["bear", "rose", "clock", "bus"] * 2
    images, _ = decode_images(listing, size=32)
    np.testing.assert_array_equal(images.reshape(8, -1), rows[[1, 2, 3, 4, 7, 8, 9, 10]])
    assert len(cifar_images(archive)) == 12


class Malicious:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


def test_pickles_that_would_run_something_are_refused(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    archive = save_archive(tmp_path / "a.tar.gz", {"c/train": pickle.dumps({b"data": Malicious(trap)}), "c/meta": b""})
    with pytest.raises(InputError, match=r"a\.tar\.gz, train: only arrays.*are read.*it holds posix\.mkdir"):
        cifar_images(archive)
    assert not trap.exists()
    for value in (slice(3), np.random.default_rng(0), Path("x"), np.float64(1.0)):
        with pytest.raises(InputError, match="it holds"):
            read_pickle(pickle.dumps(value), "here")
    with pytest.raises(InputError, match="here cannot be read"):
        read_pickle(b"\x80\x02}q", "here")
    plain = {"a": [1, 2.5, "x", b"y", None, True], "b": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    for protocol in range(2, 5):
        np.testing.assert_array_equal(read_pickle(pickle.dumps(plain, protocol), "here")["b"], plain["b"])


def test_archives_that_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(b"\x1f\x8b no more")
    short = {"d/train": as_python_2({b"data": planes(2, 0), b"fine_labels": [0], b"coarse_labels": [0]})}
    meta = {"d/meta": as_python_2({b"fine_label_names": [b"a"], b"coarse_label_names": [b"b"]})}
    wide = {"d/train": as_python_2({b"data": planes(2, 0)[:, :30], b"fine_labels": [0, 0], b"coarse_labels": [0, 0]})}
    for archive, message in (
        (broken, r"cannot be read as a \.tar\.gz archive"),
        (save_archive(tmp_path / "other.tar.gz", {"x/readme": b""}), "holds neither `train` nor `data_batch_1`"),
        (save_archive(tmp_path / "less.tar.gz", short), "has no file meta"),
        (save_archive(tmp_path / "short.tar.gz", {**short, **meta}), "labels are not one of 1 classes for each image"),
        (save_archive(tmp_path / "wide.tar.gz", {**wide, **meta}), r"must be rows of 3072 bytes"),
    ):
        with pytest.raises(InputError, match=message):
            cifar_images(archive)


def save_pictures(folder: Path, names: Sequence[str]) -> None:
    for name, picture in zip(names, PICTURES, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / name)


def test_celeba_hq_by_identity(tmp_path: Path) -> None:
    save_pictures(tmp_path, [f"CelebA-HQ-img/{number}.jpg" for number in range(10)])
    mapping = ["idx    orig_idx    orig_file", *(f"{n}   {100 - n}    {100 - n:06}.jpg" for n in range(10))]
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text("\n".join(mapping))
    identities = tmp_path / "identity_CelebA.txt"
    identities.write_text("\n".join(f"{100 - n:06}.jpg {(7, 11, 7, 11, 7, 11, 7, 11, 12, 12)[n]}" for n in range(10)))
    listing = celeba_images(tmp_path, identities=2, least=4)
    assert [entry.contributors for entry in listing.entries] == [("identity-7",)] * 4 + [("identity-11",)] * 4
    assert [file.name for file in listing.reader.files[:4]] == ["0.jpg", "2.jpg", "4.jpg", "6.jpg"]
    drawn = {celeba_images(tmp_path, identities=2, least=2, seed=seed).digest() for seed in range(8)}
    assert len(drawn) == 3  # pairs of three
    for least, text, message in (
        (3, None, "3 identities of at least 3 images are needed, and there are 2"),
        (2, "000100.jpg seven", "an identity is a number, got 'seven'"),
        (2, "000100.jpg 7", "identity_CelebA.txt has no identity for 000099.jpg"),
        (2, "000100.jpg", "expected 2 fields, got 1"),
    ):
        if text:
            identities.write_text(text)
        with pytest.raises(InputError, match=message):
            celeba_images(tmp_path, identities=3, least=least)


def test_artbench_by_artist(tmp_path: Path) -> None:
    base = "artbench-10-imagefolder-split/train"
    save_pictures(tmp_path, [f"{base}/post_impressionism/a_{n}.jpg" for n in range(3)] + [f"{base}/baroque/b_0.jpg"])
    rows = ["name,artist,url,is_public_domain,length,width,label,split,cifar_index"]
    rows += [f"a_{n}.jpg,{('vincent', 'paul')[n % 2]},u,{n == 0},8,8,post_impressionism,train,{n}" for n in range(3)]
    rows += ["b_0.jpg,peter,u,True,8,8,baroque,train,3", "c.jpg,paul,u,True,8,8,post_impressionism,test,4"]
    (tmp_path / "ArtBench-10.csv").write_text("\n".join(rows))
    listing = artbench_images(tmp_path)
    assert [entry.contributors for entry in listing.entries] == [("vincent",), ("paul",), ("vincent",)]
    assert listing.licenses() == {"": 2, "public domain": 1}
    assert len(artbench_images(tmp_path, style=None)) == 4
    with pytest.raises(InputError, match="`style` is one of baroque, post_impressionism; got 'cubism'"):
        artbench_images(tmp_path, style="cubism")
    with pytest.raises(InputError, match=r"there is no file .*c\.jpg"):
        artbench_images(tmp_path, split="test")
    with pytest.raises(InputError, match="needs at least two labels, and every image has the label 'post"):
        check_credited(listing)
    assert check_credited(listing, labels=False) is listing


def test_copies_are_found_within_and_across_contributors(tmp_path: Path) -> None:
    pictures = [PICTURES[n] for n in (0, 1, 2, 3, 4, 5, 0, 1, 0, 6, 7, 8)]
    owners = pa.array(["ann"] * 6 + ["bob"] * 2 + ["ann"] + ["cy"] * 3)
    pq.write_table(table(pictures, contributor=owners, label=pa.array([0] * 12)), tmp_path / "set.parquet")
    read = read_images(parquet_images(tmp_path, Columns()), size=8, validation=0.1, classifier=0.1, seed=0)
    assert read.repeated == 1
    whole = ImageSet.merge(
        np.zeros((4, 1)), ["p", "q", "p", "q"], np.zeros(4), ["x"], [["ann"], ["ann"], ["bob"], ["bob", "cy"]]
    )
    assert copies(whole) == [("ann", "bob", 2), ("ann", "cy", 1), ("bob", "cy", 1)]
    parts = read.in_memory()
    assert sum(map(len, vars(parts).values())) == 9


def test_a_set_written_in_pieces_is_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("royalty.models.base.serialization.PIECE", 400)  # two images
    squares = PICTURES.transpose(0, 3, 1, 2)
    owners = [["ann", "bob"], ["bob"], ["cy"]] * 4
    texts = ["é", *"bcdefghijkl"]
    whole = ImageSet.merge(squares, [item_id(p) for p in PICTURES], np.arange(12) % 2, ["x", "ÿ"], owners, texts)
    places = ImageSet.merge(np.arange(12), [item_id(p) for p in PICTURES], np.arange(12) % 2, ["x", "ÿ"], owners, texts)
    path = tmp_path / "set"
    path.write_bytes(b"".join(set_pieces(places, squares)))
    assert path.read_bytes() == whole.to_bytes()
    found = open_set(path)
    np.testing.assert_array_equal(found.images, whole.images)
    assert found.to_bytes() == whole.to_bytes()
    found.images[0] = 0  # a mapping of its own, which changes no file
    assert path.read_bytes() == whole.to_bytes()
