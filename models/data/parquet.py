"""Read Parquet files and Arrow streams; what is damaged is one error, wherever in the file it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from royalty.models.base.errors import InputError
from royalty.models.base.reading import check_table

BATCH = 1024
"""Rows of images that are read at once."""
DAMAGES = (OSError, pa.ArrowException, UnicodeDecodeError, MemoryError, OverflowError)
"""What pyarrow raises for damaged files: of streams, of headers, of names, and of lengths that no memory holds."""
Part = TypeVar("Part", pa.Table, pa.RecordBatch)


@contextmanager
def readable(path: Path, *, arrow: bool = False) -> Iterator[None]:
    """Refuse a file that pyarrow cannot read in the block.

    Args:
        arrow: whether it is an Arrow stream; otherwise Parquet.

    Raises:
        InputError: it is damaged, or of another format.
    """
    try:
        yield
    except DAMAGES as error:
        kind = "an Arrow stream" if arrow else "Parquet"
        raise InputError(f"{path} cannot be read as {kind} ({_first_line(error)}); write it again") from None


def whole(part: Part) -> Part:
    """A part of a table whose texts are UTF-8 and whose offsets are inside it, which reading does not check.

    Raises:
        pyarrow.ArrowInvalid: they are not.
    """
    part.validate(full=True)
    return part


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a file whose number of rows is that of its row groups.

    Raises:
        InputError: it cannot be read.
    """
    with readable(path):
        file = pq.ParquetFile(path)
        groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        if min(groups, default=0) < 0 or sum(groups) != file.metadata.num_rows:
            raise pa.ArrowInvalid(f"it states {file.metadata.num_rows} rows, and its row groups {sum(groups)}")
        return file


def read_columns(path: Path, file: pq.ParquetFile, names: Sequence[str]) -> pa.Table:
    """Some columns of an open file.

    Raises:
        InputError: they cannot be read.
    """
    with readable(path):
        return whole(file.read(list(names)))


def read_batches(path: Path, file: pq.ParquetFile, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of an open file, `BATCH` rows at a time.

    Raises:
        InputError: they cannot be read, or are not as many as the file states.
    """
    rows = 0
    with readable(path):
        for batch in file.iter_batches(batch_size=BATCH, columns=list(names)):
            rows += len(batch)
            yield whole(batch)
        if rows != file.metadata.num_rows:
            raise pa.ArrowInvalid(f"it states {file.metadata.num_rows} rows, and has {rows}")


def read_table(path: Path, names: Sequence[str] | None = None) -> pa.Table:
    """All of a table, or some of its columns, in memory.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    check_table(path)
    with readable(path):
        return whole(pq.read_table(path, columns=None if names is None else list(names)))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
