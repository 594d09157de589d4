"""The encoders that come with the product, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Literal

from models.encoders.efficientnet import EfficientNetLite0
from models.encoders.encoder import Encoder
from models.encoders.pixels import Pixels
from models.errors import InputError

EncoderName = Literal["efficientnet-lite0", "pixels"]
Shape = tuple[int, int, int]

ENCODERS: Mapping[EncoderName, Callable[[Shape, str], Encoder]] = {
    "efficientnet-lite0": lambda shape, device: EfficientNetLite0().to(device),
    "pixels": lambda shape, device: Pixels(shape),
}
"""From the shape of the images, `(channels, height, width)`, and a torch device, of which each takes what it needs."""


def build_encoder(name: str, *, shape: Shape, device: str = "cpu") -> Encoder:
    """The encoder of a name, with its default settings, for images of a shape.

    Raises:
        InputError: no encoder has this name.
    """
    for known, build in ENCODERS.items():
        if known == name:
            return build(shape, device)
    nearest = difflib.get_close_matches(name, ENCODERS, cutoff=0.4)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"there are {', '.join(ENCODERS)}."
    raise InputError(f"no encoder is called {name!r}; {hint}")
