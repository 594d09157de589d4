"""Decode the images of a listing in workers: squares of one size, in a file that is read by memory map."""

from __future__ import annotations

import io
import math
import multiprocessing
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from royalty.models.base.errors import InputError
from royalty.models.base.progress import Progress
from royalty.models.data.items import item_id
from royalty.models.data.listing import Cell, DecodedImages, Listing

MODES = {"L": 1, "RGB": 3}
GREY = ("1", "LA", "I;16")
"""Modes that become greyscale where images are converted; of I;16, the upper byte."""
COLOUR = ("P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
"""Modes that become colour there."""
MAX_PIXELS = 64_000_000
FEW = 2_000
"""Images that are decoded here rather than in processes, which take as long to start."""
CHUNK = 1_000
JPEG, WITH_METADATA = b"\xff\xd8\xff", b"\xff\xe1"
"""How files begin, and the segment in which EXIF and XMP are."""
TURNED = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
"""Where JPEG, PNG and WebP files say which side is up; other formats have it elsewhere."""


@dataclass(frozen=True)
class Target:
    """Where squares go: a file of uint8, `(items, channels, size, size)`; and whether images are converted to fit."""

    file: Path
    items: int
    mode: str
    size: int
    convert: bool = False

    def map(self) -> np.ndarray:
        shape = (self.items, MODES[self.mode], self.size, self.size)
        return np.memmap(self.file, np.uint8, "r+", shape=shape)


class ColourFound(Exception):
    """Of an image that has colour, where others had none so far."""


def decode_images(
    listing: Listing,
    *,
    size: int,
    convert: bool = False,
    workers: int = 1,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, list[str]]:
    """The largest centred square of each image, resized to `size` by `size`, and the `item_id` of each.

    All images are greyscale (mode L) or all are colour (mode RGB), as the first one is; sizes may differ.

    Args:
        convert: take other modes too, by the rule of `plain`; beside colour, greyscale becomes three equal channels.
        workers: processes that decode.
        folder: for the squares' file, which is gone when nobody holds the array any more.

    Returns:
        uint8, `(images, channels, size, size)`, mapped from the file, so that a set may be larger than memory.

    Raises:
        InputError: no images, an image that cannot be read, or one of another mode; names file and row.
    """
    if not len(listing):
        raise InputError(f"{listing.origin} has no images; there is nothing to read")
    mode, *_ = decode(listing.entries[0].where, next(iter(listing.reader.cells(0, 1))), None, convert=convert)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".decoding-") as place:
        target = Target(Path(place) / "squares", len(listing), mode, size, convert)
        told: list[int] = []

        def advance(images: int) -> None:
            told.append(images)
            if progress is not None:
                progress(images)

        try:
            ids = _decode_all(listing, target, workers, advance)
        except ColourFound:  # all over again, of which nothing is told but the end
            target = replace(target, mode="RGB")
            ids = _decode_all(listing, target, workers, lambda _images: None)
            advance(len(listing) - sum(told))
        squares = target.map()  # keeps the file's content when its name is gone
    return np.asarray(squares), ids


def _decode_all(listing: Listing, target: Target, workers: int, advance: Progress) -> list[str]:
    with target.file.open("wb") as stream:
        stream.truncate(len(listing) * MODES[target.mode] * target.size * target.size)
    if workers < 2 or len(listing) <= FEW or isinstance(listing.reader, DecodedImages):
        ids = []
        for start in range(0, len(listing), CHUNK):
            ids += decode_part(listing, start, target)
            advance(min(CHUNK, len(listing) - start))
        return ids
    # A fork server's children are forked from a process without threads, unlike this one.
    context = multiprocessing.get_context("forkserver")
    parts = min(workers * 8, math.ceil(len(listing) / CHUNK))  # few enough that what is said of images is sent seldom
    edges = np.linspace(0, len(listing), parts + 1).astype(int).tolist()
    ids = []
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        pieces = [
            pool.submit(decode_part, listing_part(listing, start, stop), start, target, first=start)
            for start, stop in pairwise(edges)
        ]
        try:
            for piece in pieces:
                found = piece.result()
                ids += found
                advance(len(found))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return ids


def listing_part(listing: Listing, start: int, stop: int) -> Listing:
    """The entries from one place to before another, with the whole reader."""
    return Listing(listing.origin, listing.entries[start:stop], listing.reader)


def decode_part(listing: Listing, start: int, target: Target, *, first: int | None = None) -> list[str]:
    """Decode a chunk of a listing, or the whole of a part of one that begins at place `first`; ids of its images."""
    stop = start + (len(listing) if first is not None else min(CHUNK, len(listing) - start))
    entries = listing.entries if first is not None else listing.entries[start:stop]
    squares = target.map()
    ids = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for place, (entry, cell) in enumerate(
            zip(entries, listing.reader.cells(start, stop), strict=True), start=start
        ):
            mode, identity, pixels = decode(entry.where, cell, target.size, convert=target.convert)
            if mode != target.mode and target.convert and target.mode == "L":
                raise ColourFound
            if mode != target.mode and not target.convert:
                raise InputError(
                    f"{entry.where} has mode {mode}, and every image must be {target.mode} as the first image is; "
                    "convert it"
                )
            squares[place] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
            ids.append(identity)
    return ids


def decode(where: str, cell: Cell, size: int | None, *, convert: bool = False) -> tuple[str, str, np.ndarray]:
    """Mode, `item_id` and pixels, `(size, size)` or with a last axis of three, of one image.

    Args:
        convert: what has another mode, by the rule of `plain`; its id is then that of what it becomes.

    Raises:
        InputError: it cannot be read, or is of a mode that is none of `MODES`.
    """
    if cell is None:
        raise InputError(f"{where}: there is no image; images are embedded as bytes")
    pixels = plain_jpeg(cell) if isinstance(cell, bytes) else None
    if pixels is None:
        image = _opened(where, cell) if isinstance(cell, bytes) else Image.fromarray(cell)
        if convert:
            image = plain(image)
        if image.mode not in MODES:
            raise InputError(
                f"{where} has mode {image.mode}, and an image must be one of {', '.join(MODES)}; convert it"
            )
        pixels = np.asarray(image)
    identity, mode = item_id(pixels), "L" if pixels.ndim == 2 else "RGB"
    if size is not None and pixels.shape[:2] != (size, size):
        pixels = np.asarray(ImageOps.fit(Image.fromarray(pixels), (size, size), Image.Resampling.LANCZOS))
    return mode, identity, pixels


def plain_jpeg(payload: bytes) -> np.ndarray | None:
    """Pixels of a JPEG in greyscale or colour, the same that Pillow makes of it in four times the time (32 by 32).

    Returns:
        uint8, `(height, width)` or `(height, width, 3)`; nothing of what takes Pillow: an image of another format or
        mode, one that may say which side is up, one that is too large, and one that has errors.
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
    """An image as greyscale (L) or colour (RGB), where its mode says how.

    Modes of `GREY` become greyscale, those of `COLOUR` colour. What is transparent is laid on white.
    """
    mode = "L" if image.mode in GREY else "RGB" if image.mode in COLOUR else image.mode
    if image.has_transparency_data and mode in MODES:
        shown = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), shown).convert(mode)
    if image.mode == "I;16":
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == mode else image.convert(mode)


def _opened(where: str, payload: bytes) -> Image.Image:
    if not payload:
        raise InputError(f"{where} is an empty file; replace it or drop the row")
    try:
        image = Image.open(io.BytesIO(payload))
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.load()
        upright = image.format in ("JPEG", "PNG", "WEBP") and not TURNED & image.info.keys()
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
