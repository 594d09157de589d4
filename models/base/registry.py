"""Entries of the registries of encoders, distances, qualities and networks; importing this file imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from royalty.models.base.weights import Weights


def load(path: str) -> Callable[..., Any]:
    """Import what `module:name` stands for."""
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


@dataclass(frozen=True)
class Entry:
    """What can be chosen by a name.

    Attributes:
        builder: `module:function`. Named rather than imported: a configuration is checked without torch, and the key of
            a stage covers the code of what is chosen, not of all that could be.
        weights: names of the weights that it needs. The builder takes their folders first, in this order.
        options: keyword arguments of the builder that are the same for every call.
        scales: whether the builder takes `resolution`, the side in pixels of the square that images are resized to.
    """

    builder: str
    weights: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    scales: bool = False

    @property
    def module(self) -> str:
        return self.builder.partition(":")[0]

    def build(self, weights: Weights, *, resolution: int | None = None, **arguments: Any) -> Any:
        """Call the builder.

        Args:
            resolution: passed on to builders that take it, unless it is None. Other networks have an input size of
                their own, and ignore it.

        Raises:
            InputError: as the builder, and as `weights` for missing folders.
        """
        folders = [weights(name) for name in self.weights]
        if self.scales and resolution is not None:
            arguments["resolution"] = resolution
        return load(self.builder)(*folders, **self.options, **arguments)


def entries_of(*choices: tuple[str, Mapping[str, Entry]]) -> tuple[Entry, ...]:
    """Entries of names in their registries; names that need no entry, such as `none`, are left out."""
    return tuple(registry[name] for name, registry in choices if name in registry)


def weights_of(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Names of the weights that entries need, each once."""
    return tuple(dict.fromkeys(name for entry in entries for name in entry.weights))


def modules_of(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Modules of the builders of entries, each once. Results of a chosen entry depend on their code."""
    return tuple(dict.fromkeys(entry.module for entry in entries))
