"""The size at which a network sees images."""

from __future__ import annotations

STEP, LEAST, MOST = 32, 32, 224
"""Sizes that networks of the ImageNet kind take: multiples of their total stride, up to the size that they learned."""

FEWEST = 64
"""Least size that is chosen without being asked for; below it, features know little (see the benchmarks)."""

ENLARGED = 5
"""Networks that learned large images know objects by features of their own size: small images are enlarged."""


def resolution_of(side: int) -> int:
    """The side in pixels at which a network sees images of `side` pixels, from 64 to 224.

    Five times their side, so that an object of a small image is about as large as one of those the network learned from
    (`tests.benchmarks.attribution` compares sizes).
    """
    return min(max(ENLARGED * side // STEP * STEP, FEWEST), MOST)
