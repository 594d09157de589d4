import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from royalty.models.base.errors import InputError
from royalty.models.data.items import item_id
from royalty.models.data.labelled import count_items, numbered, read_items
from tests.conftest import save_digits

GENERATOR = np.random.default_rng(0)
PICTURES = GENERATOR.integers(0, 256, size=(5, 8, 8, 3), dtype=np.uint8)


def encoded(picture: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind)
    return stream.getvalue()


def save_parquet(path: Path, cells: list[bytes | None], labels: list[int | None] | None, names: bool = True) -> Path:
    """As Hugging Face distributes image sets."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns: dict[str, pa.Array] = {"img": pa.array([{"bytes": cell, "path": None} for cell in cells], kind)}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.int64())
    info = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}) if names else table, path)
    return path


def test_parquet_with_named_labels(tmp_path: Path) -> None:
    path = save_parquet(tmp_path / "set.parquet", [encoded(picture) for picture in PICTURES], [0, 1, 1, 0, 1])
    seen: list[int] = []
    items = read_items(path, size=8, progress=seen.append)
    assert items.images is not None
    np.testing.assert_array_equal(items.images, PICTURES.transpose(0, 3, 1, 2))
    assert items.ids == tuple(map(item_id, PICTURES))
    assert items.labels.tolist() == ["cat", "dog", "dog", "cat", "dog"]
    assert (sum(seen), count_items(path), items.features, items.contributors) == (5, 5, None, None)
    plain = read_items(save_parquet(tmp_path / "plain.parquet", [encoded(PICTURES[0])], [7], names=False), size=8)
    assert plain.labels.tolist() == [7]
    assert read_items(save_parquet(tmp_path / "bare.parquet", [encoded(PICTURES[0])], None), size=4).labels is None


def test_folder_may_lack_contributors_and_labels(tmp_path: Path) -> None:
    save_digits(tmp_path, ["ann", "bob", "ann", "bob"])
    items = read_items(tmp_path, size=8)
    assert items.contributors == ("ann", "bob", "ann", "bob")
    assert items.labels.tolist() == ["0", "0", "0", "0"]
    (tmp_path / "metadata.csv").write_text("file_name\n0.png\n2.png\n")
    bare = read_items(tmp_path, size=8)
    assert (bare.labels, bare.contributors, len(bare), count_items(tmp_path)) == (None, None, 2, 2)
    assert bare.ids == (items.ids[0], items.ids[2])
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.png,one\n2.png,\n")
    with pytest.raises(InputError, match=r"row 3: '2\.png' has no label, and others have"):
        read_items(tmp_path, size=8)


def test_arrays(tmp_path: Path) -> None:
    features = GENERATOR.normal(size=(3, 4))
    np.savez(tmp_path / "a.npz", features=features, labels=np.array([0, 1, 1], dtype=np.uint8), ids=["x", "y", "z"])
    items = read_items(tmp_path / "a.npz", size=8)
    np.testing.assert_array_equal(items.features, features)
    assert (items.ids, items.labels.tolist(), items.images) == (("x", "y", "z"), [0, 1, 1], None)
    np.savez(tmp_path / "b.npz", features=features)
    assert read_items(tmp_path / "b.npz", size=8).ids == ("0", "1", "2")


def test_arrays_are_mapped_where_they_are_not_compressed(tmp_path: Path) -> None:
    features = GENERATOR.normal(size=(5, 3)).astype(np.float32)
    for stored in (features, np.asfortranarray(features), features.astype(">f4")):
        for save in (np.savez, np.savez_compressed):
            save(tmp_path / "a.npz", ids=np.arange(len(stored)), features=stored)
            found = read_items(tmp_path / "a.npz", size=8).features
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, stored)
            mapped = isinstance(found.base, np.memmap) or isinstance(getattr(found.base, "base", None), np.memmap)
            assert mapped == (save is np.savez and stored.dtype == found.dtype)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    features = GENERATOR.normal(size=(50, 30))
    np.savez(path, features=features)
    whole = path.read_bytes()
    inside = whole.index(features[9].tobytes())
    for damaged in (whole[:-9], b"", whole[:inside] + bytes([whole[inside] ^ 1]) + whole[inside + 1 :]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read as plain arrays"):
            read_items(path, size=8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.zeros(3)}, "has no array `features`"),
        (
            {"features": np.zeros((3, 2)), "labels": np.zeros(2, int)},
            r"`labels` has one entry for each of 3 rows of features, got shape \(2,\)",
        ),
        ({"features": np.zeros((3, 2)), "labels": np.zeros(3)}, "labels are integers or text, got float64"),
        ({"features": np.array([[object()]])}, "cannot be read as plain arrays"),
        ({"features": np.zeros((3, 2), int)}, r"got int64 of shape \(3, 2\)"),
        ({"features": np.zeros((0, 2)), "labels": np.zeros(0, int)}, ", which is empty"),
        ({"features": np.zeros((3, 0))}, r"features of shape \(3, 0\)"),
        ({"features": np.zeros(3)}, r"got float64 of shape \(3,\)"),
        ({"features": np.float32(1)}, r"got float32 of shape \(\)"),
    ],
)
def test_arrays_that_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_items(tmp_path / "a.npz", size=8)


def test_what_is_valued_is_converted_by_a_rule(tmp_path: Path) -> None:
    """Transparency is laid on white, 16 bits keep the upper 8, and beside colour everything has colour."""
    grey = PICTURES[0, :, :, 0]
    alpha = np.zeros_like(grey)
    alpha[:4] = 255
    on_white = np.where(alpha == 255, grey, 255)
    deep = Image.fromarray(grey.astype(np.uint16) << 8 | 77)
    seen = Image.fromarray(grey)
    shown = [seen, Image.merge("LA", [seen, Image.fromarray(alpha)]), deep, Image.fromarray(grey > 127)]
    greys = np.array([grey, on_white, grey, np.where(grey > 127, 255, 0)])[:, None]
    red = Image.new("P", (8, 8), 1)
    red.putpalette([0, 0, 0, 250, 3, 2])
    pale = Image.merge("RGBA", [*red.convert("RGB").split(), Image.new("L", (8, 8), 0)])
    (tmp_path / "grey").mkdir()
    (tmp_path / "all").mkdir()
    for place, image in enumerate([*shown, red, pale]):
        image.save(tmp_path / "all" / f"{place}.png")
        if place < 4:
            image.save(tmp_path / "grey" / f"{place}.png")
    told: list[int] = []
    alone, beside = read_items(tmp_path / "grey", size=8), read_items(tmp_path / "all", size=8, progress=told.append)
    assert sum(told) == 6  # though grey images were decoded again
    assert alone.images is not None
    assert beside.images is not None
    np.testing.assert_array_equal(alone.images, greys)
    np.testing.assert_array_equal(beside.images[:4], np.repeat(greys, 3, axis=1))
    assert (beside.images[4] == np.array([250, 3, 2])[:, None, None]).all()
    assert (beside.images[5] == 255).all()
    assert alone.ids == beside.ids[:4]  # as a set of its own, and as one that colour was put beside

    cells = [(tmp_path / "all" / f"{place}.png").read_bytes() for place in range(6)]
    table = read_items(save_parquet(tmp_path / "set.parquet", cells, [0] * 6), size=8)
    np.testing.assert_array_equal(table.images, beside.images)
    assert table.ids == beside.ids


def test_images_that_are_refused(tmp_path: Path) -> None:
    good, buffer = encoded(PICTURES[0]), io.BytesIO()
    Image.new("F", (8, 8)).save(buffer, "TIFF")
    for cells, labels, message in (
        ([good, b"no image"], [0, 1], "row 1 cannot be read as an image of any known format; replace"),
        ([good, None], [0, 1], "row 1: there is no image"),
        (
            [None, good, b"no image"],
            [0, 1, 2],
            r"2 images of .*set\.parquet cannot be used:\n- .*row 0: .*\n- .*row 2 ",
        ),
        ([good, buffer.getvalue()], [0, 1], "row 1 has mode F, whose range of brightness is not fixed"),
        ([good, good], [0, None], "row 1 has no label, and other rows have"),
        ([], [], "has no rows"),
    ):
        path = save_parquet(tmp_path / "set.parquet", cells, labels)
        with pytest.raises(InputError, match=message):
            read_items(path, size=8)
    pq.write_table(pa.table({"label": [1, 2]}), tmp_path / "none.parquet")
    with pytest.raises(InputError, match=r"0 columns of encoded images \(label\)"):
        read_items(tmp_path / "none.parquet", size=8)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_items(tmp_path / "broken.parquet", size=8)
    for name, message in (("nowhere.npz", "does not exist"), ("items.txt", "got 'items.txt'")):
        (tmp_path / "items.txt").touch()
        with pytest.raises(InputError, match=message):
            read_items(tmp_path / name, size=8)


def test_labels_of_both_sides_are_numbered_together() -> None:
    first, second = numbered(np.array(["b", "c"]), np.array(["a", "b"]))
    assert (first.tolist(), second.tolist()) == ([1, 2], [0, 1])
    first, second = numbered(np.array([5, 9]), np.array([9, 9]))
    assert (first.tolist(), second.tolist()) == ([5, 9], [9, 9])
    assert numbered(None, np.array([1])) == (None, None)
    with pytest.raises(InputError, match="names, or both are integers"):
        numbered(np.array(["a"]), np.array([1]))
