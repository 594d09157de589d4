"""Every kind of generator: built by its name from settings, and loaded from what was saved.

A kind is imported when it is asked for, so that the code of one is no part of what a run with another depends on.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

from royalty.models.base.errors import by_name
from royalty.models.base.serialization import description_of
from royalty.models.data.items import Shown
from royalty.models.generators.generator import Generator, Resources
from royalty.models.generators.kinds import CLASSES
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
    """A model of the images' shape, which has learned from nobody.

    Args:
        settings: of the kind's `for_images`.
        seed: of its initial weights.

    Raises:
        InputError: there is no such kind, or images and settings do not go together.
    """
    return _class_of(kind).for_images(shown, **settings, seed=seed, resources=resources)


def outline_generator(kind: str, shape: tuple[int, int, int], settings: Mapping[str, Any]) -> Outline:
    """How large a model of images `(channels, height, width)` will be, without building or loading one.

    Raises:
        InputError: there is no such kind.
    """
    return _class_of(kind).outline(shape, **settings)


def load_generator(payload: bytes, resources: Resources) -> Generator:
    """What `Generator.to_bytes` saved, of the kind that its description names."""
    return _class_of(description_of(payload)["kind"]).from_bytes(payload, resources)


def _class_of(kind: str) -> _Kind:
    module, name = by_name(kind, CLASSES, "generator")
    return cast(_Kind, getattr(importlib.import_module(module), name))
