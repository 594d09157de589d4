"""A JPEG is decoded apart from Pillow, to the pixels that Pillow makes of it, wherever nothing else is in it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from royalty.models.base.errors import InputError
from royalty.models.data.decoding import decode, plain_jpeg
from royalty.models.data.items import item_id

RANDOM = np.random.default_rng(0)


def jpeg(mode: str, height: int, width: int, **saving: Any) -> bytes:
    smooth = Image.fromarray(RANDOM.integers(0, 256, (3, 3, 3), dtype=np.uint8)).resize((width, height))
    stream = io.BytesIO()
    smooth.convert(mode).save(stream, "JPEG", **saving)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    ("height", "width", "saving"),
    [
        (32, 32, {}),
        (1, 1, {}),
        (17, 33, {"subsampling": "4:2:0"}),
        (33, 17, {"subsampling": "4:2:2"}),
        (31, 31, {"subsampling": "4:4:4", "quality": 100}),
        (40, 24, {"progressive": True, "quality": 20}),
        (24, 40, {"restart_marker_blocks": 1, "comment": b"words"}),
    ],
)
def test_pixels_are_pillows(mode: str, height: int, width: int, saving: dict[str, Any]) -> None:
    payload = jpeg(mode, height, width, **saving)
    with Image.open(io.BytesIO(payload)) as image:
        expected = np.asarray(image)
    pixels = plain_jpeg(payload)
    assert pixels is not None
    np.testing.assert_array_equal(pixels, expected)
    found_mode, identity, found = decode("it", payload, None)
    assert (found_mode, identity) == (mode, item_id(expected))
    np.testing.assert_array_equal(found, expected)
    _, same, square = decode("it", payload, 16)
    fitted = ImageOps.fit(Image.fromarray(expected), (16, 16), Image.Resampling.LANCZOS)
    assert same == identity
    np.testing.assert_array_equal(square, np.asarray(fitted))


def test_one_that_says_which_side_is_up_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # its first row is the right side
    payload = jpeg("RGB", 24, 40, exif=exif)
    assert plain_jpeg(payload) is None
    _, _, pixels = decode("it", payload, None)
    assert pixels.shape == (40, 24, 3)
    with Image.open(io.BytesIO(payload)) as image:
        np.testing.assert_array_equal(pixels, np.rot90(np.asarray(image), -1))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (jpeg("RGB", 64, 64)[:-200], "it cannot be read as an image"),
        (jpeg("RGB", 8, 8)[:40], "it cannot be read as an image"),
    ],
    ids=["cut", "header alone"],
)
def test_what_is_no_plain_jpeg_is_pillows_to_refuse(payload: bytes, message: str) -> None:
    assert plain_jpeg(payload) is None
    with pytest.raises(InputError, match=message):
        decode("it", payload, None)


def test_one_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("royalty.models.data.decoding.MAX_PIXELS", 63)
    with pytest.raises(InputError, match="more than 63 pixels"):
        decode("it", jpeg("RGB", 8, 8), None)
