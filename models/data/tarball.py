"""Read files of a compressed tar archive into memory. Nothing is written, and what is unpacked is limited."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from royalty.models.base.errors import InputError

MOST_UNPACKED = 2**28
"""Most bytes of a whole unpacked archive. That of OpenMoji 17 has 43 megabytes."""
MOST_MEMBERS = 100_000


def read_tarball(
    archive: Path,
    wanted: Callable[[str], bool],
    *,
    most_bytes: int = MOST_UNPACKED,
    most_members: int = MOST_MEMBERS,
) -> dict[str, bytes]:
    """The content of the wanted files of a `.tgz` archive, by the name in the archive.

    Args:
        wanted: whether a file with this name is read.
        most_bytes, most_members: limits of the unpacked archive, wanted or not.

    Raises:
        InputError: the archive is missing or damaged, unpacks to more than the limits, or has a member that is a link,
            a device, outside of the archive's folder, or sparse: the holes of a sparse file count in no stream, and
            would be filled in memory.
    """
    found: dict[str, bytes] = {}
    try:
        with (
            gzip.open(archive) as unpacked,
            tarfile.open(fileobj=_Limited(archive, unpacked, most_bytes), mode="r|") as tar,
        ):
            for count, member in enumerate(tar, start=1):
                if count > most_members:
                    raise InputError(f"{archive} has more than {most_members:,} files; name an archive of drawings")
                _check(archive, member)
                if member.isfile() and wanted(member.name):
                    if member.name in found:
                        raise InputError(f"{archive} has {member.name!r} twice; download it again")
                    stream = tar.extractfile(member)
                    found[member.name] = stream.read() if stream else b""
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise InputError(f"{archive} cannot be read as a .tgz archive ({error}); download it again") from None
    return found


def _check(archive: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(
            f"{archive}: files of an archive lie in its folder, and {member.name!r} leaves it; download it again"
        )
    if not (member.isfile() or member.isdir()) or member.issparse():
        kind = "a link" if member.issym() or member.islnk() else "a sparse file" if member.issparse() else "a device"
        raise InputError(
            f"{archive}: an archive holds files and folders, and {member.name!r} is {kind}; download it again"
        )


class _Limited(io.RawIOBase):
    """A stream that refuses to give more than a number of bytes: an archive of kilobytes can unpack to gigabytes."""

    def __init__(self, archive: Path, stream: gzip.GzipFile, most: int) -> None:
        self.archive, self.stream, self.most, self.left = archive, stream, most, most

    def read(self, size: int = -1) -> bytes:
        piece = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(piece)
        if self.left < 0:
            raise InputError(
                f"{self.archive} unpacks to more than {self.most:,} bytes, as a decompression bomb does; download it "
                "again"
            )
        return piece
