"""Build generators by kind and settings, and load saved ones.

A kind is imported on first use, so that a run does not depend on the code of other kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from royalty.models.base.errors import by_name
from royalty.models.base.registry import load
from royalty.models.base.serialization import description_of
from royalty.models.data.items import Shown
from royalty.models.generators.generator import Generator, Resources
from royalty.models.generators.kinds import KINDS
from royalty.models.generators.outline import Outline


class _Kind(Protocol):
    @classmethod
    def for_images(cls, shown: Shown, *, seed: int, resources: Resources, **settings: Any) -> Generator: ...

    @classmethod
    def from_bytes(cls, payload: bytes, resources: Resources = ...) -> Generator: ...

    @classmethod
    def outline(cls, shape: tuple[int, int, int], **settings: Any) -> Outline: ...


def build_generator(
    kind: str, shown: Shown, settings: Mapping[str, Any], *, seed: int, resources: Resources
) -> Generator:
    """An untrained model for images of this shape.

    Args:
        settings: keyword arguments of the kind's `for_images`.
        seed: of its initial weights.

    Raises:
        InputError: an unknown kind, or settings that do not fit the images.
    """
    return _class_of(kind).for_images(shown, **settings, seed=seed, resources=resources)


def outline_generator(kind: str, shape: tuple[int, int, int], settings: Mapping[str, Any]) -> Outline:
    """The size of a model for images `(channels, height, width)`, without building or loading it.

    Raises:
        InputError: an unknown kind.
    """
    return _class_of(kind).outline(shape, **settings)


def load_generator(payload: bytes, resources: Resources) -> Generator:
    """Load a model that `Generator.to_bytes` saved; its description names the kind."""
    return _class_of(description_of(payload)["kind"]).from_bytes(payload, resources)


def _class_of(kind: str) -> _Kind:
    return cast(_Kind, load(by_name(kind, KINDS, "generator").builder))
