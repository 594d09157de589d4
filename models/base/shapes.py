"""The shape of the images of a data set."""

from __future__ import annotations

ImageShape = tuple[int, int, int]
"""Channels, height and width."""
