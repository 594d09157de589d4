"""A small file of each kind that people bring, its reader, and the limits that reading it must keep."""

from __future__ import annotations

import io
import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from royalty.flows.configuration import load_config, load_payout_config
from royalty.models.data.columns import Columns, dataset_images, parquet_images
from royalty.models.data.decoding import decode_images
from royalty.models.data.folder import read_manifest
from royalty.models.data.labelled import list_items, read_items
from royalty.models.data.listing import Listing
from royalty.models.payout.payees import read_payees
from royalty.tasks.pay.usage_reading import ByImage, of_file

SECONDS = 20.0
"""Of the clock, which a reader may take for one small file, however busy the machine is."""
MEMORY = 2**30
"""Bytes of address space, which a reader may take for one small file."""
ROWS = [{"file_name": f"{place}.png", "contributor": "ab"[place % 2], "label": "xy"[place // 2]} for place in range(4)]
COLUMNS: dict[str, list[Any]] = {name: [row[name] for row in ROWS] for name in ROWS[0]}
CSV = "file_name,contributor,label\n" + "".join(",".join(row.values()) + "\n" for row in ROWS)
USE = [("1", "2026-05-01", "0.10", "ann", "0.25"), ("1", "2026-05-01", "0.10", "bob", "0.75")]
USE_COLUMNS = ("id", "time", "revenue", "contributor", "share")
IMAGES = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "tif": "TIFF", "webp": "WEBP", "bmp": "BMP"}

Read = Callable[[Path], object]


def line(**changed: object) -> str:
    """Metadata as JSON lines, with other values in the first."""
    return "\n".join(json.dumps(row) for row in [{**ROWS[0], **changed}, *ROWS[1:]])


def write_pictures(folder: Path) -> None:
    """The images that `ROWS` lists."""
    for place in range(4):
        Image.new("L", (8, 8), place * 40).save(folder / f"{place}.png")


def use(file: Path) -> object:
    """Read a log of use in May."""
    return of_file(file, date(2026, 5, 1), date(2026, 6, 1), ["ann", "bob"], ByImage(None, "letters", "1"))


def kinds() -> dict[str, tuple[bytes, Read]]:
    """The content of a file of each kind, by a name that its reader knows, and its reader.

    Readers find the pictures of `write_pictures` in the folder of the file.
    """
    payees = b"contributor,name,payee,currency\nann,Ann,DE89370400440532013000,EUR\n"
    table = {**COLUMNS, "image": [{"bytes": _picture("PNG"), "path": f"{place}.png"} for place in range(4)]}
    used = [",".join(USE_COLUMNS), *(",".join(row) for row in USE)]
    state = {"_data_files": [{"filename": "data.arrow"}], "_fingerprint": "0", "_split": "train"}
    return {
        "metadata.csv": (CSV.encode(), lambda file: read_manifest(file.parent)),
        "metadata.jsonl": (line().encode(), lambda file: read_manifest(file.parent)),
        "metadata.parquet": (_parquet(COLUMNS), lambda file: read_manifest(file.parent)),
        "items.npz": (_arrays(), lambda file: read_items(file, size=8)),
        "items.parquet": (_parquet(table), lambda file: read_items(file, size=8, listing=list_items(file))),
        "set.parquet": (_parquet(table), lambda file: _decoded(parquet_images(file, Columns()))),
        "data.arrow": (_stream(table), lambda file: _decoded(dataset_images(file.parent, Columns()))),
        "state.json": (json.dumps(state).encode(), lambda file: _decoded(dataset_images(file.parent, Columns()))),
        "contributors.csv": (payees, read_payees),
        "consent.csv": (
            b"contributor,file_name,consent,consent_date,source\na,,given,2026-05-01,studio\na,0.png,refused,,\n",
            lambda file: read_manifest(file.parent),
        ),
        "c.yaml": (b"data: {source: digits}\npayout: {pool: 10, floor: 0.1}\n", load_config),
        "terms.yaml": (b"pool: 10\npolicy: proportional\n", lambda file: load_payout_config(file, {}, {}, {})),
        "use.csv": ("\n".join(used).encode(), use),
        "use.parquet": (_parquet(dict(zip(USE_COLUMNS, map(list, zip(*USE, strict=True)), strict=True))), use),
        **{
            f"4.{suffix}": (_picture(kind), lambda file: read_items(file.parent, size=8))
            for suffix, kind in IMAGES.items()
        },
    }


@contextmanager
def limited() -> Iterator[None]:
    """Allow a reader some seconds and some memory more than this process has; beyond that it fails."""

    def stop(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"a reader took more than {SECONDS} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _picture(kind: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def _parquet(columns: dict[str, list[Any]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def _stream(columns: dict[str, list[Any]]) -> bytes:
    table, stream = pa.table(columns), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def _arrays() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, features=np.eye(4, dtype=np.float32), labels=np.arange(4) % 2)
    return stream.getvalue()


def _decoded(listing: Listing) -> object:
    return decode_images(listing, size=8)
