"""Generated images that were flagged as copies of training images, as a match keeps them for the report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CopiedImage:
    """Rows of a generated image that was flagged as a copy and of its nearest training image, and the p-value.

    A match lists those of lowest p-value first.
    """

    generated: int
    item: int
    p_value: float
