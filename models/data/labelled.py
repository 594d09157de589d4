"""Items to be valued: images or precomputed features, with labels and contributors if known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa

from royalty.models.base.errors import InputError, Refusals
from royalty.models.base.progress import Progress
from royalty.models.data.archive import open_arrays
from royalty.models.data.columns import Cells, file_names, has_names, image_column, label_names, payloads, schema_of
from royalty.models.data.consent import consent_of
from royalty.models.data.decoding import MODES, decode, decode_images, shorter_side
from royalty.models.data.folder import list_images
from royalty.models.data.items import ImageSet, item_id
from royalty.models.data.listing import (
    COLUMNS,
    SEPARATOR,
    STATED,
    Entry,
    Listing,
    as_text,
    check_columns,
    contributors_of,
)
from royalty.models.data.optouts import Withdrawal, remaining
from royalty.models.data.parquet import open_parquet, read_batches, read_columns
from royalty.models.data.teams import credited, people

SIDES_READ = 100
"""Images whose size is looked at."""


@dataclass(frozen=True)
class Items:
    """Items in the order of their source; copies stay copies.

    Attributes:
        ids: the `item_id` of images; for features, their `ids` or row numbers.
        images: uint8, `(items, channels, height, width)`; None for features.
        features: floating point, `(items, dimensions)`; None for images.
        labels: names or integers, `(items,)`; None if the source has none.
        contributors: one text for each item, several names separated by `;`; None if the source names none. An
            `.npz` file may have them as an array of text.
        attributes: by name, bool, `(items,)`; None if not requested.
        file_names: of the images; None if the source has none.
        sources: the set of each image and its row there; of a copy in a credited set, all rows. None if unknown.
        described: captions, licenses and styles, by column, where the source states them.
    """

    ids: tuple[str, ...]
    images: np.ndarray | None
    features: np.ndarray | None
    labels: np.ndarray | None
    contributors: tuple[str, ...] | None
    attributes: Mapping[str, np.ndarray] | None = None
    file_names: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    described: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: np.ndarray) -> Items:
        """The items at these positions."""

        def taken(known: Any) -> Any:
            if known is None or isinstance(known, np.ndarray):
                return None if known is None else known[places]
            if isinstance(known, Mapping):
                return {name: taken(column) for name, column in known.items()}
            return tuple(known[place] for place in places)

        return Items(**{name: taken(known) for name, known in vars(self).items()})

    def without_withdrawn(self, origin: str, withdrawals: Sequence[Withdrawal]) -> tuple[Items, dict[str, int]]:
        """The items that nobody withdrew; see `royalty.models.data.optouts.without_withdrawn`.

        Args:
            origin: name of the source in the error.
        """
        if not withdrawals or self.contributors is None:
            return self, {}
        files = self.file_names or ("",) * len(self)
        owners = [people(credited(cell)) for cell in self.contributors]
        rows, counts = remaining(origin, owners, files, withdrawals)
        return (self.take(rows) if counts else self), counts

    def columns(self) -> dict[str, Any]:
        """What a table of values says of the items: `id`, file name, source, label, contributors, and what describes
        them, as far as it is known."""
        known = {
            "id": self.ids,
            "file_name": self.file_names,
            "source": self.sources,
            "label": self.labels,
            "contributor": self.contributors,
            **self.described,
        }
        return {name: values for name, values in known.items() if values is not None}

    @classmethod
    def of_set(cls, data: ImageSet) -> Items:
        """The items of a credited set."""
        names = np.array(data.contributors)
        owners = tuple(SEPARATOR.join(names[members].tolist()) for members in data.membership)
        return cls(data.ids, data.images, None, np.array(data.label_names)[data.labels], owners)

    @classmethod
    def of_images(cls, images: np.ndarray) -> Items:
        """Images without labels and contributors, such as generated ones."""
        return cls(tuple(item_id(image) for image in images), images, None, None, None)


def list_items(path: Path) -> Listing:
    """List the images of a folder, or of a Parquet file, with contributors, consent and file names; decodes none.

    Raises:
        InputError: a source of another kind, such as features, or with invalid content.
    """
    if path.is_dir():
        return list_images(path)
    if path.suffix != ".parquet":
        raise InputError(f"images are listed from a folder or a .parquet file; got {path.name!r}. Give one of these")
    file = open_parquet(path)
    column = image_column(str(path), schema_of(path, arrow=False))
    known = file.schema_arrow.names
    check_columns(str(path), known, set(), [name for name in STATED if name in COLUMNS])
    columns = [name for name in ("contributor", *STATED) if name in known]
    stated = read_columns(path, file, columns).to_pylist()
    rows = stated or [{}] * file.metadata.num_rows
    named = has_names(file.schema_arrow.field(column).type)
    names = file_names(read_columns(path, file, [f"{column}.path"]).column(column)) if named else [""] * len(rows)
    places = (f"{path}, row {row}" for row in range(len(rows)))
    entries = tuple(
        Entry(where, contributors_of(where, row.get("contributor")), file_name=name, **consent_of(where, row))
        for where, row, name in zip(places, rows, names, strict=True)
    )
    return Listing(str(path), entries, Cells((path,), False, column, np.arange(len(entries))))


def read_items(path: Path, *, size: int, listing: Listing | None = None, progress: Progress | None = None) -> Items:
    """Read an `.npz` file, a Parquet file with images, or a folder of images with or without `metadata.csv`.

    The largest centred square of each image is resized to `size`. Modes are converted by the rule of
    `royalty.models.data.decoding.plain`, as in a run. If any image has colour, greyscale images get three equal
    channels, as they do when compared with colour images of another source.

    Args:
        listing: the images of the source to read, from `list_items`; None: all.

    Raises:
        InputError: a source of another kind, or with invalid content; the message names the row.
    """
    if path.is_dir():
        return _read_folder(path, size, listing or list_images(path), progress)
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a folder of images, a Parquet file or an .npz file")
    if path.suffix == ".npz":
        return _read_arrays(path)
    if path.suffix == ".parquet":
        return _read_parquet(path, size, listing, progress)
    raise InputError(
        f"items are read from a folder of images, a .parquet file or an .npz file; got {path.name!r}. Give one of these"
    )


def typical_side(path: Path) -> int | None:
    """The median of the shorter sides of at most 100 evenly spaced images, in pixels, read from the heads of the files.

    None for `.npz` files, for sources that do not exist, and if none of these images can be read: reading all of them
    says what is wrong.
    """
    if not (path.is_dir() or (path.suffix == ".parquet" and path.is_file())):
        return None
    listing = list_items(path)
    places = np.unique(np.linspace(0, max(len(listing) - 1, 0), min(len(listing), SIDES_READ)).astype(int))
    cells = listing.reader.take(places).cells(0, len(places))
    sides = [side for cell in cells if (side := shorter_side(cell)) is not None]
    return int(np.median(sides)) if sides else None


def count_items(path: Path) -> int:
    """The number of images for which `read_items` reports progress."""
    if path.is_dir():
        return len(list_images(path))
    if path.suffix == ".parquet":
        return int(open_parquet(path).metadata.num_rows)
    return 0


def numbered(train: np.ndarray | None, val: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Labels of both sides as integers, equal labels as equal integers; None for both if one side has none."""
    if train is None or val is None:
        return None, None
    if train.dtype.kind != val.dtype.kind:
        raise InputError(
            f"labels of both sides are names, or both are integers; training has {train[0].item()!r} and validation "
            f"{val[0].item()!r}. Use one kind on both sides"
        )
    names, numbers = np.unique(np.concatenate([train, val]), return_inverse=True)
    if train.dtype.kind == "i":
        numbers = names[numbers]
    return numbers[: len(train)].astype(np.int64), numbers[len(train) :].astype(np.int64)


def _read_folder(folder: Path, size: int, listing: Listing, progress: Progress | None) -> Items:
    images, ids = decode_images(listing, size=size, progress=progress)
    labels = [entry.label for entry in listing.entries]
    if any(labels) and not all(labels):
        entry = listing.entries[labels.index("")]
        raise InputError(
            f"{entry.where} has no label, and others have one; fill it in, or drop the column to compare only features"
        )
    owners = [SEPARATOR.join(entry.contributors) for entry in listing.entries]
    names, sources = listing.provenance(folder)
    return Items(
        ids=tuple(ids),
        images=images,
        features=None,
        labels=np.array(labels) if all(labels) else None,
        contributors=tuple(owners) if any(owners) else None,
        file_names=names if any(names) else None,
        sources=sources,
        described={name: column for name, column in listing.described().items() if name != "label"},
    )


def _read_arrays(path: Path) -> Items:
    try:
        arrays = open_arrays(path, ("features", "labels", "ids", "contributors"))
    except (OSError, ValueError, BadZipFile) as error:
        raise InputError(f"{path} cannot be read as plain arrays ({error}); save it with numpy.savez") from None
    if "features" not in arrays:
        raise InputError(f"{path} has no array `features`; save one, (items, dimensions)")
    features, labels = arrays["features"], arrays.get("labels")
    if features.dtype.kind != "f" or features.dtype.itemsize > 8 or features.ndim != 2:
        raise InputError(
            f"{path}: `features` are floating-point numbers, (items, dimensions); got {features.dtype} of shape "
            f"{features.shape}. Save a matrix of float32 or float64 with one row for each item"
        )
    if 0 in features.shape:
        raise InputError(f"{path} has features of shape {features.shape}, which is empty; give at least one item")
    features = features.astype(features.dtype.newbyteorder("="), copy=False)
    if labels is not None and np.issubdtype(labels.dtype, np.unsignedinteger):
        labels = labels.astype(np.int64)
    ids, owners = arrays.get("ids", np.arange(len(features))), arrays.get("contributors")
    for name, array in (("labels", labels), ("ids", ids), ("contributors", owners)):
        if array is not None and array.shape != (len(features),):
            raise InputError(
                f"{path}: `{name}` has one entry for each of {len(features)} rows of features, got shape {array.shape}"
            )
    if labels is not None and labels.dtype.kind not in "iU":
        raise InputError(f"{path}: labels are integers or text, got {labels.dtype}; convert them")
    contributors = None if owners is None else tuple(map(str, owners.tolist()))
    return Items(tuple(map(str, ids.tolist())), None, features, labels, contributors)


def _read_parquet(path: Path, size: int, listing: Listing | None, progress: Progress | None) -> Items:
    file = open_parquet(path)
    schema = schema_of(path, arrow=False)
    column = image_column(str(path), schema)
    texts = [name for name in ("label", "contributor", "date") if name in schema.names]
    rows = np.arange(file.metadata.num_rows) if listing is None else listing.reader.rows  # type: ignore[attr-defined]
    images = np.empty((0, 1, size, size), dtype=np.uint8)
    ids: list[str] = []
    names: list[str] = []
    metadata: dict[str, list[object]] = {name: [] for name in texts}
    first = row = 0
    refused = Refusals()
    for batch in read_batches(path, file, [column, *texts]):
        inside = rows[(rows >= first) & (rows < first + len(batch))] - first
        first += len(batch)
        if len(inside) < len(batch):
            batch = batch.take(pa.array(inside))
        names += file_names(batch.column(column))
        for cell in payloads(batch.column(column)).to_pylist():
            with refused.collect():
                mode, identity, square = decode(f"{path}, row {rows[row]}", cell, size)
                if not ids:
                    images = np.empty((len(rows), MODES[mode], size, size), dtype=np.uint8)
                elif MODES[mode] > images.shape[1]:
                    images = np.repeat(images, 3, axis=1)
                ids.append(identity)
                images[row] = square.reshape(size, size, MODES[mode]).transpose(2, 0, 1)
            row += 1
            if progress is not None:
                progress(1)
        for name in texts:
            metadata[name] += batch.column(name).to_pylist()
    refused.check(f"images of {path} cannot be used")
    if not ids:
        raise InputError(f"{path} has no rows; give at least one item")
    labels = _label_names(path, schema, metadata["label"], rows) if "label" in metadata else None
    owners = tuple(map(str, metadata["contributor"])) if "contributor" in metadata else None
    sources = tuple(f"{path.name}, row {row}" for row in rows)
    known_names = tuple(names) if any(names) else None
    described = {} if listing is None else listing.described()
    if any(metadata.get("date", ())):
        described["date"] = tuple(map(as_text, metadata["date"]))
    return Items(tuple(ids), images, None, labels, owners, file_names=known_names, sources=sources, described=described)


def _label_names(path: Path, schema: pa.Schema, values: Sequence[object], rows: np.ndarray) -> np.ndarray:
    """Replace integer labels by the names that Hugging Face stores in the schema; other labels are unchanged."""
    missing = next((row for row, value in enumerate(values) if value is None), None)
    if missing is not None:
        raise InputError(
            f"{path}, row {rows[missing]} has no label, and other rows have one; fill it in, or drop the column"
        )
    names = label_names(schema, "label")
    if names and all(isinstance(value, int) and 0 <= value < len(names) for value in values):
        return np.array([names[int(str(value))] for value in values])
    return np.array(values)
