"""Read files that people bring, within limits that are checked before anything is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

from royalty.models.base.errors import InputError

LARGEST_TABLE = 2**30
"""Bytes of a table that is held in memory: about ten million images in `metadata.csv`, which take ten times as much."""
LARGEST_IMAGE = 2**29
"""Bytes of the file of an image: of 64 million pixels, the most that are decoded, at 64 bits each."""
LONGEST_LINE = 2**24
"""Characters of a line of a text."""
UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def check_size(path: Path, most: int, what: str, remedy: str) -> None:
    """Check, before it is read, that a file is not too large.

    Args:
        what: the kind of file, as in "a table".

    Raises:
        InputError: it has more bytes, is not there, or is no file, such as a pipe, which may never end.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); check the path and its permissions") from None
    if not S_ISREG(found.st_mode):
        raise InputError(f"{what} is a file, and {path} is none; give the path of a file")
    if found.st_size > most:
        raise InputError(f"{what} has at most {_bytes(most)}, and {path} has {_bytes(found.st_size)}; {remedy}")


def check_table(path: Path) -> None:
    """Check that a table can be held in memory; see `check_size`."""
    check_size(path, LARGEST_TABLE, "a table", "divide it, or check that it is the right file")


def check_image(path: Path, what: str = "the file of an image") -> None:
    """Check that a file can be that of an image; see `check_size`."""
    check_size(path, LARGEST_IMAGE, what, "scale the image down, or leave it out")


def read_bytes(path: Path, what: str) -> bytes:
    """The content of a file, such as an image, that a user names.

    Raises:
        InputError: it cannot be read, or is larger than an image.
    """
    try:
        if path.exists():
            check_image(path, f"the {what}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror}; give the path of a file") from error


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a table in UTF-8, with their ends and without zero characters, one at a time.

    Raises:
        InputError: it cannot be read, is no UTF-8, or is too large or a line too long to be a table; the row is named.
    """
    check_table(path)
    row = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            while line := stream.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE:
                    raise InputError(
                        f"{path}, row {row}: a line has at most {LONGEST_LINE:,} characters, and this has more; end "
                        "each row with a line break"
                    )
                yield line.replace("\0", "")
                row += 1
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); check its permissions") from None
    except UnicodeDecodeError as error:
        row += error.object[: error.start].count(b"\n")
        raise InputError(f"{path}, row {row}: not UTF-8 ({error.reason}); save the file as UTF-8") from None


def _bytes(count: int) -> str:
    unit, name = next(((unit, name) for unit, name in UNITS if count >= unit), (1, "bytes"))
    return f"{count / unit:.3g} {name}"
