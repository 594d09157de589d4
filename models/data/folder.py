"""A folder of images with `metadata.csv`, `.jsonl` or `.parquet`, in the layout of Hugging Face's `imagefolder`."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from royalty.models.base.errors import InputError, Refusals
from royalty.models.base.reading import check_image, read_lines
from royalty.models.data.consent import REGISTER, REGISTERED, consent_of, with_register
from royalty.models.data.listing import (
    SEPARATOR,
    STATED,
    Entry,
    Files,
    Listing,
    as_text,
    check_columns,
    check_credited,
    contributors_of,
    inside,
)
from royalty.models.data.names import person_name
from royalty.models.data.parquet import read_table
from royalty.models.data.rsl import terms_beside
from royalty.models.data.teams import people

METADATA = "metadata.csv"
KINDS = (METADATA, "metadata.jsonl", "metadata.parquet")
CONTRIBUTORS = "contributors.csv"
SHOWN = 8

Record = Mapping[str, Any]


def read_manifest(folder: Path, *, credited: bool = True, labels: bool = True, texts: bool = False) -> Listing:
    """Read and check the metadata of a folder (UTF-8), and `contributors.csv` and `consent.csv` if there are such.

    Every listed file must exist inside the folder and be listed once. Rows that cannot be used are reported together.

    Args:
        credited: whether the images must satisfy `check_credited`; if False, metadata may be missing.

    Raises:
        InputError: the message names file, row and remedy.
    """
    metadata = metadata_of(folder)
    needed = {"file_name"} | ({"contributor"} | ({"label"} if labels else set()) if credited else set())
    needed |= {"text"} if texts and credited else set()
    entries: list[Entry] = []
    files: dict[Path, str] = {}
    with_terms = terms_beside(folder)
    refused = Refusals()
    for line, record in read_records(metadata, needed):
        with refused.collect():
            file, entry = _listed(folder, f"{metadata}, row {line}", record, files, credited=credited)
            entry = with_terms(entry)
            files[file] = str(line)
            entries.append(entry)
    refused.check(f"rows of {metadata} cannot be used")
    listed = tuple(entries)
    if (register := folder / REGISTER).exists():
        listed = with_register(register, _rows_of(register), listed)
    listing = Listing(str(metadata), listed, Files(tuple(files)))
    if credited:
        check_credited(listing, labels=labels, texts=texts)
        _check_contributors(folder, metadata, set(people(name for entry in entries for name in entry.contributors)))
    return listing


def _rows_of(register: Path) -> list[tuple[int, dict[str, str]]]:
    rows = read_csv(register, {"contributor"})
    check_columns(f"{register}, row 1", list(rows[0][1]), {"contributor"}, ("contributor", "file_name", *REGISTERED))
    return rows


def _listed(
    folder: Path, where: str, record: Record, seen: Mapping[Path, str], *, credited: bool
) -> tuple[Path, Entry]:
    """The file and the entry of one row of the metadata.

    Args:
        seen: rows of the files listed so far.
    """
    for column in ("file_name", "label", "text", "license", "date", *STATED):
        if isinstance(record.get(column), dict | list):
            raise InputError(
                f"{where}: `{column}` is one text, and this is a {type(record[column]).__name__}; correct it"
            )
    name = as_text(record["file_name"])
    contributors = contributors_of(where, record.get("contributor"))
    if credited and not contributors:
        raise InputError(f"{where}: every image has a contributor, and {name!r} has none; name one or drop the row")
    if not name:
        whose = f"contributor {contributors[0]!r} has" if contributors else "there is"
        raise InputError(f"{where}: {whose} no image here; fill in `file_name` or drop the row")
    file = inside(folder, name, where)
    check_image(file, f"{where}: the file of an image")
    if file in seen:
        raise InputError(
            f"{where}: {name!r} is listed in row {seen[file]} already; keep one row, and join several "
            f"contributors with {SEPARATOR!r}"
        )
    label, text, license_, date = (as_text(record.get(column)) for column in ("label", "text", "license", "date"))
    return file, Entry(
        f"{where}: {name!r}",
        contributors,
        label,
        text,
        license_,
        name,
        date=date,
        **consent_of(where, record),
    )


def list_images(folder: Path) -> Listing:
    """The images in the metadata of a folder; without metadata, all images in it and its subfolders, sorted by path.

    Raises:
        InputError: as `read_manifest`; no images.
    """
    if any((folder / kind).exists() for kind in KINDS):
        return read_manifest(folder, credited=False)
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
    if not files:
        raise InputError(f"{folder} has neither {METADATA} nor images; name a folder of images")
    for file in files:
        check_image(file)
    entries = tuple(
        Entry(f"{folder}: {name!r}", file_name=name) for name in (file.relative_to(folder).as_posix() for file in files)
    )
    return Listing(str(folder), entries, Files(tuple(files)))


def metadata_of(folder: Path) -> Path:
    """The metadata file of a folder; `metadata.csv` if there is none, so that reading it reports the error.

    Raises:
        InputError: there are several.
    """
    files = [folder / kind for kind in KINDS if (folder / kind).exists()]
    if len(files) > 1:
        raise InputError(f"{folder} has {' and '.join(file.name for file in files)}; keep the one that is valid")
    return files[0] if files else folder / METADATA


def _check_contributors(folder: Path, metadata: Path, known: set[str]) -> None:
    path = folder / CONTRIBUTORS
    if not path.exists():
        return
    listed = {
        person_name(f"{path}, row {line}", record["contributor"]): line
        for line, record in read_csv(path, {"contributor"})
    }
    for name, line in listed.items():
        if name not in known:
            raise InputError(
                f"{path}, row {line}: contributor {name!r} has no image in {metadata}; add one or drop the row"
            )
    if missing := sorted(known - listed.keys()):
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        names = ", ".join(map(repr, missing[:SHOWN])) + more
        raise InputError(f"{path}: no row for {names} of {metadata}; add a row for each contributor")


def read_records(metadata: Path, needed: set[str]) -> list[tuple[int, Record]]:
    """Rows with their numbers as in a spreadsheet: the header of a CSV file is row 1.

    Raises:
        InputError: the file is not of its format, or lacks a needed column; the message names the row.
    """
    if metadata.suffix == ".jsonl":
        return _read_jsonl(metadata, needed)
    if metadata.suffix == ".parquet":
        return _read_parquet(metadata, needed)
    records = read_csv(metadata, needed)
    check_columns(f"{metadata}, row 1", list(records[0][1]), needed)
    return list(records)


def _read_jsonl(path: Path, needed: set[str]) -> list[tuple[int, Record]]:
    records: list[tuple[int, Record]] = []
    for line, written in enumerate(read_lines(path), start=1):
        if not written.strip():
            continue
        where = f"{path}, row {line}"
        record = _parsed(written, where)
        if not isinstance(record, dict):
            raise InputError(
                f"{where}: expected a JSON object, got {type(record).__name__}; write one object on each line"
            )
        check_columns(where, list(record), needed)
        records.append((line, record))
    return _some(path, records, needed)


def _parsed(written: str, where: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if repeated := [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]:
            raise InputError(f"{where}: a key stands in an object once, and {repeated[0]!r} is there again; keep one")
        return dict(pairs)

    try:
        return json.loads(written, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON ({error.msg}); write one object on each line") from None
    except (RecursionError, ValueError) as error:  # levels without end; a number of thousands of digits
        raise InputError(f"{where}: no record of an image ({error}); write one object on each line") from None


def _read_parquet(path: Path, needed: set[str]) -> list[tuple[int, Record]]:
    table = read_table(path)
    check_columns(str(path), table.column_names, needed)
    return _some(path, list(enumerate(table.to_pylist())), needed)


def read_csv(path: Path, needed: set[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows with their line numbers; every needed column is present and every row is as long as the header.

    Raises:
        InputError: the message names the row and the remedy.
    """
    if not path.is_file():
        there = "is no file" if path.exists() else "does not exist"
        columns = ", ".join(sorted(needed))
        raise InputError(f"{path} {there}; write it with the columns {columns}, one row for each image")
    reader = csv.DictReader(read_lines(path), strict=True)
    records: list[tuple[int, dict[str, str]]] = []
    try:
        header = list(reader.fieldnames or [])
        if repeated := [name for name, count in Counter(header).items() if count > 1]:
            raise InputError(f"{path}, row 1: each column has one name, and {repeated[0]!r} names several; keep one")
        if needed - set(header) and any(header):
            check_columns(f"{path}, row 1", header, needed)
        for record in reader:
            if None in record or None in record.values():
                raise InputError(
                    f"{path}, row {reader.line_num}: not as many values as the header has columns; correct the row"
                )
            records.append((reader.line_num, record))
    except csv.Error as error:
        raise InputError(f"{path}, row {reader.reader.line_num}: not CSV ({error}); correct the row") from None
    return _some(path, records, needed)


def _some(path: Path, records: list[Any], needed: set[str]) -> list[Any]:
    if not records:
        whose = "at least two contributors' images" if "contributor" in needed else "images"
        raise InputError(f"{path} is empty; list {whose} in it, one row for each image")
    return records
