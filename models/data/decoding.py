"""Decode the images of a listing in worker processes to squares of one size, in a memory-mapped file."""

from __future__ import annotations

import io
import math
import multiprocessing
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from royalty.models.base.errors import InputError, Refusals
from royalty.models.base.progress import Progress
from royalty.models.data.items import item_id
from royalty.models.data.listing import Cell, DecodedImages, Listing

MODES = {"L": 1, "RGB": 3}
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L")
"""Greyscale of 16 bits, of which the upper 8 are kept."""
GREY = ("1", "L", "LA", *SIXTEEN_BITS)
"""Modes that become greyscale."""
COLOUR = ("RGB", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
"""Modes that become colour."""
MAX_PIXELS = 64_000_000
FEW = 2_000
"""Up to this many images are decoded in this process, because starting workers takes as long."""
CHUNK = 1_000
JPEG, WITH_METADATA = b"\xff\xd8\xff", b"\xff\xe1"
"""The first bytes of a JPEG, and the marker of the segment with EXIF and XMP."""
ORIENTATION_KEYS = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
"""Metadata that may hold the orientation in JPEG, PNG and WebP files; other formats store it elsewhere."""


@dataclass(frozen=True)
class Target:
    """The output file of squares, uint8 `(items, channels, size, size)`, and their mode."""

    file: Path
    items: int
    mode: str
    size: int

    def map(self) -> np.ndarray:
        shape = (self.items, MODES[self.mode], self.size, self.size)
        return np.memmap(self.file, np.uint8, "r+", shape=shape)


class ColourFound(Exception):
    """An image has colour, and all images before it were greyscale."""


def decode_images(
    listing: Listing,
    *,
    size: int,
    workers: int = 1,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Decode each image: its largest centred square, resized to `size` by `size`, and its `item_id`.

    Sizes and modes may differ. Modes are converted by the rule of `plain`; if any image has colour, greyscale images
    get three equal channels. The id of an image does not depend on the others.

    Args:
        workers: number of processes.
        folder: for the file of squares, which is deleted when the array is no longer referenced.

    Returns:
        Squares, uint8 `(images, channels, size, size)`, mapped from the file, so that a set may be larger than memory;
        and the ids.

    Raises:
        InputError: no images, or images that cannot be used; the message has the number of them, and file, row and
            remedy of the first ten.
    """
    if not len(listing):
        raise InputError(f"{listing.origin} has no images; there is nothing to read")
    mode = "L"
    with Refusals().collect():  # decoding all images refuses this one again, with the others
        mode, *_ = decode(listing.entries[0].where, next(iter(listing.reader.cells(0, 1))), None)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".decoding-") as place:
        target = Target(Path(place) / "squares", len(listing), mode, size)
        reported: list[int] = []

        def advance(images: int) -> None:
            reported.append(images)
            if progress is not None:
                progress(images)

        try:
            ids = _decode_all(listing, target, workers, advance)
        except ColourFound:  # decode all images again; only the remaining progress is reported
            target = replace(target, mode="RGB")
            ids = _decode_all(listing, target, workers, lambda _images: None)
            advance(len(listing) - sum(reported))
        squares = target.map()  # keeps the content after the file is unlinked
    return np.asarray(squares), ids


def _decode_all(listing: Listing, target: Target, workers: int, advance: Progress) -> list[str]:
    with target.file.open("wb") as stream:
        stream.truncate(len(listing) * MODES[target.mode] * target.size * target.size)
    ids: list[str] = []
    refused = Refusals()
    for part_ids, part_refused in _parts(listing, target, workers):
        ids += part_ids
        refused.add(part_refused)
        advance(len(part_ids) + part_refused.count)
    refused.check(f"images of {listing.origin} cannot be used")
    return ids


def _parts(listing: Listing, target: Target, workers: int) -> Iterator[tuple[list[str], Refusals]]:
    """The results of `decode_part` over all images, in order."""
    if workers < 2 or len(listing) <= FEW or isinstance(listing.reader, DecodedImages):
        for start in range(0, len(listing), CHUNK):
            yield decode_part(listing, start, target)
        return
    # A fork server forks from a process without threads; forking this one would not be safe.
    context = multiprocessing.get_context("forkserver")
    parts = min(workers * 8, math.ceil(len(listing) / CHUNK))  # few, so that the reader is rarely sent
    edges = np.linspace(0, len(listing), parts + 1).astype(int).tolist()
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        pieces = [
            pool.submit(decode_part, listing_part(listing, start, stop), start, target, first=start)
            for start, stop in pairwise(edges)
        ]
        try:
            for piece in pieces:
                yield piece.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def listing_part(listing: Listing, start: int, stop: int) -> Listing:
    """A part of the entries, with the whole reader."""
    return Listing(listing.origin, listing.entries[start:stop], listing.reader)


def decode_part(
    listing: Listing, start: int, target: Target, *, first: int | None = None
) -> tuple[list[str], Refusals]:
    """Decode a chunk of a listing, or all of a part of a listing that begins at position `first`.

    Returns:
        The ids of the images, and the refusals of those that cannot be used.
    """
    stop = start + (len(listing) if first is not None else min(CHUNK, len(listing) - start))
    entries = listing.entries if first is not None else listing.entries[start:stop]
    squares = target.map()
    ids: list[str] = []
    refused = Refusals()
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for place, (entry, cell) in enumerate(
            zip(entries, listing.reader.cells(start, stop), strict=True), start=start
        ):
            with refused.collect():
                mode, identity, pixels = decode(entry.where, cell, target.size)
                if MODES[mode] > MODES[target.mode]:
                    raise ColourFound
                squares[place] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # greyscale is repeated
                ids.append(identity)
    return ids, refused


def decode(where: str, cell: Cell, size: int | None) -> tuple[str, str, np.ndarray]:
    """Mode, `item_id` and pixels of one image, `(size, size)` or with a last axis of three.

    Modes are converted by the rule of `plain`, and the id is that of the converted image.

    Raises:
        InputError: it cannot be read, or its mode is one that `plain` does not convert.
    """
    if cell is None:
        raise InputError(f"{where}: there is no image; images are embedded as bytes")
    pixels = plain_jpeg(cell) if isinstance(cell, bytes) else None
    if pixels is None:
        image = plain(_opened(where, cell) if isinstance(cell, bytes) else Image.fromarray(cell))
        if image.mode not in MODES:
            raise InputError(
                f"{where} has mode {image.mode}, whose range of brightness is not fixed; images have 1, 8 or 16 bits a "
                "channel. Save it as an 8-bit PNG file"
            )
        pixels = np.asarray(image)
    identity, mode = item_id(pixels), "L" if pixels.ndim == 2 else "RGB"
    if size is not None and pixels.shape[:2] != (size, size):
        pixels = np.asarray(ImageOps.fit(Image.fromarray(pixels), (size, size), Image.Resampling.LANCZOS))
    return mode, identity, pixels


def shorter_side(cell: Cell) -> int | None:
    """The shorter side of an image in pixels, from the head of its file; None if it cannot be read."""
    if isinstance(cell, np.ndarray):
        return int(min(cell.shape[:2]))
    try:
        return min(Image.open(io.BytesIO(cell or b"")).size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def plain_jpeg(payload: bytes) -> np.ndarray | None:
    """Decode a JPEG in greyscale or colour; same pixels as Pillow in a quarter of the time (32 by 32 pixels).

    Returns:
        uint8, `(height, width)` or `(height, width, 3)`; None for images that Pillow must decode: those of another
        format or mode, with possible orientation metadata, too large, or damaged.
    """
    if not payload.startswith(JPEG) or WITH_METADATA in payload:
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(payload)
        if height * width > MAX_PIXELS or space not in ("Gray", "YCbCr"):
            return None
        decoded: np.ndarray = simplejpeg.decode_jpeg(payload, "Gray" if space == "Gray" else "RGB")
    except ValueError:
        return None
    return decoded[..., 0] if space == "Gray" else decoded


def plain(image: Image.Image) -> Image.Image:
    """Convert an image to greyscale (L) or colour (RGB): one rule for every command.

    Modes of `GREY` become greyscale, those of `COLOUR` colour; other modes are left as they are. Of 16 bits the upper 8
    are kept. Transparent images are laid over white.
    """
    mode = "L" if image.mode in GREY else "RGB" if image.mode in COLOUR else image.mode
    transparent = image.has_transparency_data and mode in MODES
    if image.mode in SIXTEEN_BITS:
        # A single transparent value is given in 16 bits, and is compared before bits are dropped.
        deep = np.asarray(image)
        clear = deep == image.info["transparency"] if transparent else np.zeros_like(deep, dtype=bool)
        return Image.fromarray(np.where(clear, 255, deep >> 8).astype(np.uint8))
    if transparent:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba).convert(mode)
    return image if image.mode == mode else image.convert(mode)


def _opened(where: str, payload: bytes) -> Image.Image:
    if not payload:
        raise InputError(f"{where} is an empty file; replace it or drop the row")
    try:
        image = Image.open(io.BytesIO(payload))
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.load()
        upright = image.format in ("JPEG", "PNG", "WEBP") and not ORIENTATION_KEYS & image.info.keys()
        return image if upright else ImageOps.exif_transpose(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(
            f"{where} unpacks to more than {MAX_PIXELS:,} pixels, as a decompression bomb does; scale it down"
        ) from None
    except UnidentifiedImageError:
        raise InputError(
            f"{where} cannot be read as an image of any known format; replace it or drop the row"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{where} cannot be read as an image ({error}); replace it or drop the row") from error
