"""Read arrays from an `.npz` file; uncompressed arrays are memory-mapped, so they may be larger than memory."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

LOCAL_HEADER = 30
"""Bytes before the name of a member in a ZIP archive; the last four are the lengths of name and extra field."""

PIECE = 2**24
"""Bytes read at once to verify a checksum."""

DAMAGES = (
    RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, EOFError, struct.error, MemoryError, OverflowError,
    SyntaxError, TypeError, KeyError, tokenize.TokenError,
)  # fmt: skip
"""What the readers of ZIP archives and arrays raise beside their own errors: of encrypted members, of other versions,
damaged streams, and headers that are none or promise more than memory holds."""


def open_arrays(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Open the named arrays that a file written by `numpy.savez` or `numpy.savez_compressed` has.

    Raises:
        OSError, ValueError, BadZipFile: the file is missing or damaged, or an array holds Python objects.
    """
    try:
        with path.open("rb") as stream, ZipFile(stream) as archive:
            members = {name: f"{name}.npy" for name in names if f"{name}.npy" in archive.namelist()}
            return {name: _array(path, stream, archive, archive.getinfo(member)) for name, member in members.items()}
    except DAMAGES as error:
        raise ValueError(f"damaged: {error or type(error).__name__}") from error


def _array(path: Path, stream: IO[bytes], archive: ZipFile, member: ZipInfo) -> np.ndarray:
    if member.compress_type != ZIP_STORED:
        with archive.open(member) as inside:
            array: np.ndarray = np.lib.format.read_array(inside, allow_pickle=False)
            return array
    with archive.open(member) as inside:
        while inside.read(PIECE):  # reading to the end verifies the checksum
            pass
    stream.seek(member.header_offset + LOCAL_HEADER - 4)
    lengths = np.frombuffer(stream.read(4), "<u2")
    stream.seek(int(lengths.sum(dtype=np.int64)), 1)
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = header(stream)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects")
    if 0 in shape:  # an empty array cannot be mapped
        return np.empty(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "c", offset=stream.tell(), shape=shape, order="F" if by_columns else "C"))
