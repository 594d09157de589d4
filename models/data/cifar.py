"""CIFAR-10 and CIFAR-100 in the archives or the Parquet files in which they are distributed; the subset CIFAR-20."""

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
"""Superclasses of CIFAR-100, five classes each: the subset of the sparsified fine-tuning paper, appendix B.1."""

CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""Classes of CIFAR-10 in the order of their numbers, for Parquet files that keep no names."""

PARQUET = ".parquet"
SIDE = 32
MAX_MEMBER = 2**29
"""Bytes of a batch; the largest published one has 155 MB."""


def cifar_images(
    archive: Path, *, subset: bool = False, split: Split = "train", per_label: int | None = None
) -> Listing:
    """The images of `cifar-10-python.tar.gz` or `cifar-100-python.tar.gz`, each provided by the labeler of its class.

    Args:
        archive: or a Parquet file as Hugging Face has it, or a folder of such files, named by their split.
        subset: CIFAR-20, the classes of four superclasses of CIFAR-100: 10,000 images to train on.
        per_label: take the first so many of each class; None: all.

    Raises:
        InputError: another archive, or one that is damaged or holds more than arrays, lists, numbers and text.
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
    """The same of Parquet: images with `label`, or with `fine_label` and `coarse_label`."""
    files = [place] if place.suffix == PARQUET else sorted(place.rglob(f"{split}*{PARQUET}"))
    if len(files) != 1 or not files[0].is_file():
        raise InputError(
            f"CIFAR is an archive, or one Parquet file of the split {split!r}, and {place} has {len(files)}; name one"
        )
    hundred = "fine_label" in schema_of(files[0], False).names
    if not hundred:
        if subset:
            raise InputError(f"{files[0]} has no `fine_label`, and CIFAR-20 is a subset of CIFAR-100; name its file")
        columns = Columns(contributor="label", names=CIFAR_10)
        listing = parquet_images(files[0], columns, per_label=per_label)
        if {entry.label for entry in listing.entries} - set(CIFAR_10):
            raise InputError(f"{files[0]}: labels are those of CIFAR-10, as names or 0 to 9; take `source: parquet`")
        return listing
    columns = Columns(contributor="fine_label", label="fine_label", text="coarse_label" if subset else "text")
    listing = parquet_images(files[0], columns, per_label=per_label)
    if not subset:
        return listing
    chosen = [row for row, entry in enumerate(listing.entries) if entry.text in CIFAR_20]
    if not chosen:
        raise InputError(f"{files[0]} names none of {', '.join(CIFAR_20)} in `coarse_label`; fetch it anew")
    cells = cast(Cells, listing.reader)
    entries = tuple(replace(listing.entries[row], text="") for row in chosen)
    return Listing(listing.origin, entries, replace(cells, rows=cells.rows[np.array(chosen)]))


def _ten(archive: Path, members: Mapping[str, bytes], split: Split) -> tuple[list[str], list[int], np.ndarray]:
    parts = sorted(name for name in members if name.startswith("data_batch_")) if split == "train" else ["test_batch"]
    batches = [_batch(archive, members, part) for part in parts]
    labels = [int(label) for batch in batches for label in _of(archive, batch, "labels", list)]
    names = _texts(_of(archive, _batch(archive, members, "batches.meta"), "label_names", list))
    pixels = np.concatenate([_pixels(archive, batch) for batch in batches])
    return names, _checked(archive, labels, names, pixels), pixels


def _hundred(
    archive: Path, members: Mapping[str, bytes], split: Split
) -> tuple[list[str], list[int], np.ndarray, list[str]]:
    batch, meta = _batch(archive, members, split), _batch(archive, members, "meta")
    names = _texts(_of(archive, meta, "fine_label_names", list))
    pixels = _pixels(archive, batch)
    fine = _checked(archive, _of(archive, batch, "fine_labels", list), names, pixels)
    groups = _texts(_of(archive, meta, "coarse_label_names", list))
    coarse = _checked(archive, _of(archive, batch, "coarse_labels", list), groups, pixels)
    return names, fine, pixels, [groups[group] for group in coarse]


def _members(archive: Path) -> dict[str, bytes]:
    """Content of the files of the archive, by name without folder; nothing is unpacked to disk."""
    try:
        with tarfile.open(archive, "r:*") as tar:
            files = [member for member in tar if member.isfile() and not member.name.endswith((".html", ".txt"))]
            for member in files:
                if member.size > MAX_MEMBER:
                    raise InputError(f"{archive}: {member.name} unpacks to {member.size:,} bytes; fetch it anew")
            return {Path(member.name).name: tar.extractfile(member).read() for member in files}  # type: ignore[union-attr]
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(f"{archive} cannot be read as a .tar.gz archive ({error}); fetch it anew") from None


def _batch(archive: Path, members: Mapping[str, bytes], name: str) -> Mapping[str, Any]:
    if name not in members:
        raise InputError(f"{archive} has no file {name}; fetch it anew")
    found = read_pickle(members[name], f"{archive}, {name}")
    if not isinstance(found, dict):
        raise InputError(f"{archive}, {name} holds {type(found).__name__}, and a dictionary is wanted; fetch it anew")
    return dict(zip(_texts(found), found.values(), strict=True))


def _of(archive: Path, batch: Mapping[str, Any], key: str, kind: type) -> Any:
    if not isinstance(batch.get(key), kind):
        raise InputError(f"{archive}: `{key}` is missing or no {kind.__name__}; fetch it anew")
    return batch[key]


def _pixels(archive: Path, batch: Mapping[str, Any]) -> np.ndarray:
    """uint8, `(images, 32, 32, 3)`; a row holds the red plane, then the green, then the blue one."""
    data = _of(archive, batch, "data", np.ndarray)
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIDE * SIDE:
        raise InputError(f"{archive}: `data` is {data.dtype} {data.shape}, and rows of 3072 bytes are wanted")
    return np.ascontiguousarray(data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


def _checked(archive: Path, labels: Sequence[int], names: Sequence[str], pixels: np.ndarray) -> list[int]:
    if len(labels) != len(pixels) or not all(isinstance(v, int) and 0 <= v < len(names) for v in labels):
        raise InputError(f"{archive}: labels are not one of {len(names)} classes for each image; fetch it anew")
    return list(labels)


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def read_pickle(payload: bytes, where: str) -> Any:
    """What a pickle holds, if that is arrays, lists, dictionaries, numbers and text; nothing else is built or called.

    Raises:
        InputError: it holds anything else, or is damaged.
    """
    try:
        return _PlainUnpickler(io.BytesIO(payload), encoding="bytes").load()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except Exception as error:  # noqa: BLE001  a damaged pickle raises whatever it happens upon
        raise InputError(f"{where} cannot be read ({type(error).__name__}: {error}); fetch it anew") from None


def _text_to_bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise InputError(f"bytes in the encoding {encoding!r} are no part of a CIFAR batch; fetch it anew")
    return codecs.encode(text, "latin1")


class _PlainUnpickler(pickle.Unpickler):
    """Knows what numpy arrays of numbers are made of, under the names of numpy 1 and 2, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        raise InputError(
            f"it holds {module}.{name}, and arrays, lists, numbers and text are all that is read: what runs on reading "
            "is refused. Fetch it anew from where CIFAR is published"
        )


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _text_to_bytes,
}
