"""CIFAR-10 and CIFAR-100, from the archives or Parquet files in which they are distributed, and the subset CIFAR-20."""

from __future__ import annotations

import codecs
import io
import pickle
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from royalty.models.base.errors import InputError
from royalty.models.data.columns import Cells, Columns, parquet_images, schema_of
from royalty.models.data.listing import DecodedImages, Entry, Listing, first_of_each

Split = Literal["train", "test"]

CIFAR_20 = ("large_carnivores", "flowers", "household_electrical_devices", "vehicles_1")
"""Superclasses of CIFAR-100 with five classes each: the subset of the sparsified fine-tuning paper, appendix B.1."""

CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""Classes of CIFAR-10 in the order of their numbers, for Parquet files without class names."""

PARQUET = ".parquet"
SIDE = 32
MAX_MEMBER = 2**29
"""Largest size of a batch in bytes; the largest published batch has 155 MB."""


def cifar_images(
    archive: Path, *, subset: bool = False, split: Split = "train", per_label: int | None = None
) -> Listing:
    """List the images of `cifar-10-python.tar.gz` or `cifar-100-python.tar.gz`; each class is a contributor.

    Args:
        archive: the archive, a Parquet file as published on Hugging Face, or a folder of such files named by split.
        subset: select CIFAR-20, the classes of four superclasses of CIFAR-100, with 10,000 training images.
        split: part of the data set.
        per_label: number of images to take of each class, from the first; None: all.

    Raises:
        InputError: another archive; a damaged archive, or one that holds anything but arrays, lists, numbers and text.
    """
    if archive.is_dir() or archive.suffix == PARQUET:
        return _parquet(archive, subset, split, per_label)
    members = _members(archive)
    if "train" in members:
        names, fine, pixels, coarse = _hundred(archive, members, split)
    elif "data_batch_1" in members:
        names, fine, pixels = _ten(archive, members, split)
        coarse = None
    else:
        raise InputError(
            f"{archive} holds neither `train` nor `data_batch_1`; name the archive of CIFAR-10 or CIFAR-100"
        )
    labels = [names[label] for label in fine]
    chosen = np.arange(len(labels))
    if subset:
        if coarse is None:
            raise InputError(
                f"{archive} is CIFAR-10, and CIFAR-20 is a subset of CIFAR-100; name cifar-100-python.tar.gz"
            )
        chosen = np.flatnonzero(np.isin(coarse, CIFAR_20))
    chosen = chosen[first_of_each([labels[place] for place in chosen], per_label)]
    entries = tuple(Entry(f"{archive}, {split} image {place}", (labels[place],), labels[place]) for place in chosen)
    return Listing(str(archive), entries, DecodedImages(pixels[chosen]))


def _parquet(place: Path, subset: bool, split: Split, per_label: int | None) -> Listing:
    """List the images of a Parquet file, with the column `label` (CIFAR-10), or `fine_label` and `coarse_label`."""
    files = [place] if place.suffix == PARQUET else sorted(place.rglob(f"{split}*{PARQUET}"))
    if len(files) != 1 or not files[0].is_file():
        raise InputError(
            f"CIFAR is an archive, or one Parquet file of the split {split!r}, and {place} has {len(files)} of these; "
            "name one"
        )
    hundred = "fine_label" in schema_of(files[0], False).names
    if not hundred:
        if subset:
            raise InputError(
                f"{files[0]} has no `fine_label`, and CIFAR-20 is a subset of CIFAR-100; name a file of CIFAR-100"
            )
        columns = Columns(contributor="label", names=CIFAR_10)
        listing = parquet_images(files[0], columns, per_label=per_label)
        if {entry.label for entry in listing.entries} - set(CIFAR_10):
            raise InputError(
                f"{files[0]}: labels are not those of CIFAR-10, names or 0 to 9; use `source: parquet` for other data"
            )
        return listing
    columns = Columns(contributor="fine_label", label="fine_label", text="coarse_label" if subset else "text")
    listing = parquet_images(files[0], columns, per_label=per_label)
    if not subset:
        return listing
    rows = [row for row, entry in enumerate(listing.entries) if entry.text in CIFAR_20]
    if not rows:
        raise InputError(f"{files[0]} has none of {', '.join(CIFAR_20)} in `coarse_label`; download it again")
    cells = cast(Cells, listing.reader)
    entries = tuple(replace(listing.entries[row], text="") for row in rows)
    return Listing(listing.origin, entries, replace(cells, rows=cells.rows[np.array(rows)]))


def _ten(archive: Path, members: Mapping[str, bytes], split: Split) -> tuple[list[str], list[int], np.ndarray]:
    parts = sorted(name for name in members if name.startswith("data_batch_")) if split == "train" else ["test_batch"]
    batches = [_batch(archive, members, part) for part in parts]
    labels = [int(label) for batch in batches for label in _field(archive, batch, "labels", list)]
    names = _texts(_field(archive, _batch(archive, members, "batches.meta"), "label_names", list))
    pixels = np.concatenate([_pixels(archive, batch) for batch in batches])
    return names, _checked(archive, labels, names, pixels), pixels


def _hundred(
    archive: Path, members: Mapping[str, bytes], split: Split
) -> tuple[list[str], list[int], np.ndarray, list[str]]:
    batch, meta = _batch(archive, members, split), _batch(archive, members, "meta")
    names = _texts(_field(archive, meta, "fine_label_names", list))
    pixels = _pixels(archive, batch)
    fine = _checked(archive, _field(archive, batch, "fine_labels", list), names, pixels)
    groups = _texts(_field(archive, meta, "coarse_label_names", list))
    coarse = _checked(archive, _field(archive, batch, "coarse_labels", list), groups, pixels)
    return names, fine, pixels, [groups[group] for group in coarse]


def _members(archive: Path) -> dict[str, bytes]:
    """The content of the files of the archive, by name without folder; nothing is unpacked to disk."""
    try:
        with tarfile.open(archive, "r:*") as tar:
            files = [member for member in tar if member.isfile() and not member.name.endswith((".html", ".txt"))]
            for member in files:
                if member.size > MAX_MEMBER:
                    raise InputError(
                        f"{archive}: {member.name} unpacks to {member.size:,} bytes; download the archive again"
                    )
            return {Path(member.name).name: tar.extractfile(member).read() for member in files}  # type: ignore[union-attr]
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(f"{archive} cannot be read as a .tar.gz archive ({error}); download it again") from None


def _batch(archive: Path, members: Mapping[str, bytes], name: str) -> Mapping[str, Any]:
    if name not in members:
        raise InputError(f"{archive} has no file {name}; download the archive again")
    batch = read_pickle(members[name], f"{archive}, {name}")
    if not isinstance(batch, dict):
        raise InputError(
            f"{archive}, {name} must hold a dictionary, got {type(batch).__name__}; download the archive again"
        )
    return dict(zip(_texts(batch), batch.values(), strict=True))


def _field(archive: Path, batch: Mapping[str, Any], key: str, kind: type) -> Any:
    if not isinstance(batch.get(key), kind):
        raise InputError(f"{archive}: `{key}` is missing or not of type {kind.__name__}; download the archive again")
    return batch[key]


def _pixels(archive: Path, batch: Mapping[str, Any]) -> np.ndarray:
    """The pixels of a batch, uint8, `(images, 32, 32, 3)`; each row holds the red, the green and the blue plane."""
    data = _field(archive, batch, "data", np.ndarray)
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIDE * SIDE:
        raise InputError(
            f"{archive}: `data` must be rows of 3072 bytes, got {data.dtype} {data.shape}; download the archive again"
        )
    return np.ascontiguousarray(data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


def _checked(archive: Path, labels: Sequence[int], names: Sequence[str], pixels: np.ndarray) -> list[int]:
    if len(labels) != len(pixels) or not all(isinstance(v, int) and 0 <= v < len(names) for v in labels):
        raise InputError(
            f"{archive}: the labels are not one of {len(names)} classes for each image; download the archive again"
        )
    return list(labels)


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def read_pickle(payload: bytes, where: str) -> Any:
    """Read a pickle of arrays, lists, dictionaries, numbers and text; nothing else is constructed or called.

    Raises:
        InputError: the pickle holds anything else, or is damaged.
    """
    try:
        return _PlainUnpickler(io.BytesIO(payload), encoding="bytes").load()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except Exception as error:  # noqa: BLE001  a damaged pickle may raise any exception
        raise InputError(
            f"{where} cannot be read ({type(error).__name__}: {error}); download the archive again"
        ) from None


def _text_to_bytes(text: str, encoding: str) -> bytes:
    """Encode text as bytes; pickles that Python 3 wrote for Python 2 store bytes in this form."""
    if encoding != "latin1":
        raise InputError(f"a CIFAR batch has no bytes in the encoding {encoding!r}; download the archive again")
    return codecs.encode(text, "latin1")


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that accepts only the parts of numpy arrays of numbers, by their names in numpy 1 and 2."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        raise InputError(
            f"only arrays, lists, numbers and text are read, since other objects could run code; it holds "
            f"{module}.{name}. Download the archive again from the site that publishes CIFAR"
        )


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _text_to_bytes,
}
