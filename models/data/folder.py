"""A folder of images with a `metadata.csv`: `file_name`, `contributor`, `label`."""

from __future__ import annotations

import csv
import hashlib
import io
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from models.data.items import ImageSet, Splits, item_id, split_items
from models.errors import InputError

METADATA = "metadata.csv"
CONTRIBUTORS = "contributors.csv"
SEPARATOR = ";"
MODES = {"L": 1, "RGB": 3}
MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class Row:
    """One line of `metadata.csv`; `line` counts from 1, the header included."""

    line: int
    file: Path
    contributors: tuple[str, ...]
    label: str
    text: str = ""


@dataclass(frozen=True)
class Manifest:
    """A checked `metadata.csv`: every file is there, inside the folder, listed once."""

    folder: Path
    rows: tuple[Row, ...]

    def digest(self) -> str:
        """SHA-256 over the listed files and what is said of them."""
        digest = hashlib.sha256()
        for row in self.rows:
            content = hashlib.sha256(row.file.read_bytes()).hexdigest()
            digest.update(f"{row.file.name}\n{row.contributors}\n{row.label}\n{row.text}\n{content}\n".encode())
        return digest.hexdigest()


def read_manifest(folder: Path, *, credited: bool = True) -> Manifest:
    """Read and check `metadata.csv` (UTF-8), and `contributors.csv` where there is one.

    Args:
        credited: every image has a contributor, of whom there are two, and a label. Otherwise either may be missing.

    Raises:
        InputError: naming file, row and remedy.
    """
    metadata = folder / METADATA
    records = _read_csv(metadata, {"file_name", "contributor", "label"} if credited else {"file_name"})
    rows: list[Row] = []
    seen: dict[Path, int] = {}
    root = folder.resolve()
    for line, record in records:
        where = f"{metadata}, row {line}"
        name = record["file_name"].strip()
        listed = unicodedata.normalize("NFC", record.get("contributor", ""))
        label, text = (record.get(column, "").strip() for column in ("label", "text"))
        contributors = tuple(part.strip() for part in listed.split(SEPARATOR) if part.strip())
        if credited and not contributors:
            raise InputError(f"{where}: every image has a contributor, and {name!r} has none; name one or drop the row")
        if len(set(contributors)) < len(contributors):
            raise InputError(f"{where}: contributor listed twice in {listed!r}; list each once")
        if not name:
            whose = f"contributor {contributors[0]!r} has" if contributors else "there is"
            raise InputError(f"{where}: {whose} no image here; fill in `file_name` or drop the row")
        if credited and not label:
            raise InputError(f"{where}: {name!r} has no label; fill it in: the Inception Score needs one an image")
        try:
            file = (root / name).resolve()
            if not file.is_relative_to(root):
                raise InputError(f"{where}: {name!r} leaves the folder {folder}; copy the image into it")
            if not file.is_file():
                raise InputError(f"{where}: there is no file {name!r} in {folder}; add it or drop the row")
            with file.open("rb"):
                pass
        except OSError as error:
            raise InputError(
                f"{where}: cannot open {name[:80]!r} ({error.strerror}); mend it or drop the row"
            ) from None
        if file in seen:
            raise InputError(
                f"{where}: {name!r} is listed in row {seen[file]} already; keep one row, and join several "
                f"contributors with {SEPARATOR!r}"
            )
        seen[file] = line
        rows.append(Row(line, file, contributors, label, text))
    if not credited:
        return Manifest(folder, tuple(rows))
    known = {name for row in rows for name in row.contributors}
    _check_contributors(folder, known)
    if len(known) < 2:
        raise InputError(
            f"{metadata}: credit is shared between at least 2 contributors, and there is {len(known)} "
            f"({', '.join(known)}); add images of another"
        )
    return Manifest(folder, tuple(rows))


def list_images(folder: Path) -> Manifest:
    """What `metadata.csv` lists; without one, all images in the folder and in those within it, in order of their paths.

    Raises:
        InputError: as `read_manifest`; no images.
    """
    if (folder / METADATA).exists():
        return read_manifest(folder, credited=False)
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
    if not files:
        raise InputError(f"{folder} holds neither {METADATA} nor any image; name a folder of images")
    return Manifest(folder, tuple(Row(line, file, (), "") for line, file in enumerate(files, start=1)))


def image_folder(
    manifest: Manifest,
    *,
    size: int,
    validation: float,
    classifier: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Splits:
    """Decode the images of a manifest, and split them.

    Raises:
        InputError: see `decode_images`; images of one label only.
    """
    images, ids = decode_images(manifest, size=size, progress=progress)
    names = sorted({row.label for row in manifest.rows})
    if len(names) < 2:
        raise InputError(
            f"{manifest.folder / METADATA}: the Inception Score tells labels apart, and every image has the label "
            f"{names[0]!r}; label what the images show"
        )
    labels = np.array([names.index(row.label) for row in manifest.rows])
    texts = [row.text for row in manifest.rows]
    owners = [row.contributors for row in manifest.rows]
    whole = ImageSet.merge(images, ids, labels, names, owners, texts if any(texts) else None)
    return split_items(whole, validation=validation, classifier=classifier, seed=seed)


def decode_images(
    manifest: Manifest, *, size: int, progress: Callable[[int], None] | None = None
) -> tuple[np.ndarray, list[str]]:
    """The largest centred square of each image, resized to `size` by `size`, and the `item_id` of each.

    All images are greyscale (mode L) or all are colour (mode RGB), as the first one is.

    Raises:
        InputError: an image that cannot be read, or is of another mode; names file and row.
    """
    images, ids = [], []
    mode = ""
    for row in manifest.rows:
        image = _decode(manifest.folder / METADATA, row)
        mode = mode or image.mode
        if image.mode != mode or mode not in MODES:
            wanted = f"{mode} as the first image is" if mode in MODES else f"one of {', '.join(MODES)}"
            raise InputError(
                f"{manifest.folder / METADATA}, row {row.line}: {row.file.name!r} has mode {image.mode}, and the mode "
                f"of every image must be {wanted}; convert it"
            )
        ids.append(item_id(np.asarray(image)))
        square = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
        images.append(np.asarray(square).reshape(size, size, MODES[mode]).transpose(2, 0, 1))
        if progress is not None:
            progress(1)
    return np.stack(images), ids


def _decode(metadata: Path, row: Row) -> Image.Image:
    where = f"{metadata}, row {row.line}: {row.file.name!r}"
    if row.file.stat().st_size == 0:
        raise InputError(f"{where} is an empty file; replace it or drop the row")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(row.file) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                image.load()
                return ImageOps.exif_transpose(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(
            f"{where} unpacks to more than {MAX_PIXELS:,} pixels, as a decompression bomb does; scale it down"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{where} cannot be read as an image ({error}); replace it or drop the row") from error


def _check_contributors(folder: Path, known: set[str]) -> None:
    path = folder / CONTRIBUTORS
    if not path.exists():
        return
    listed = {
        unicodedata.normalize("NFC", record["contributor"]).strip(): line
        for line, record in _read_csv(path, {"contributor"})
    }
    for name, line in listed.items():
        if name not in known:
            raise InputError(
                f"{path}, row {line}: contributor {name!r} has no image in {folder / METADATA}; add one or drop the row"
            )
    for name in sorted(known - listed.keys()):
        raise InputError(f"{path}: contributor {name!r} of {folder / METADATA} is missing; add a row")


def _read_csv(path: Path, needed: set[str]) -> list[tuple[int, dict[str, str]]]:
    """Lines with their numbers; every needed column is there and every row is as long as the header."""
    if not path.exists():
        raise InputError(
            f"there is no {path}; make one with the columns {', '.join(sorted(needed))}, a row for each image"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\0", "")
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); mend its permissions") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, row {line}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    records: list[tuple[int, dict[str, str]]] = []
    try:
        missing = needed - set(reader.fieldnames or [])
        if missing and text.strip():
            raise InputError(f"{path}, row 1: no column {', '.join(sorted(missing))}; add it to the header")
        for record in reader:
            if None in record or None in record.values():
                raise InputError(f"{path}, row {reader.line_num}: not as many values as the header has columns")
            records.append((reader.line_num, record))
    except csv.Error as error:
        raise InputError(f"{path}, row {reader.reader.line_num}: not CSV ({error}); mend the row") from None
    if not records:
        raise InputError(f"{path} is empty; list at least two contributors' images in it, a row for each image")
    return records
