"""Check the weights that a configuration needs, before any work."""

from __future__ import annotations

from collections.abc import Iterable

from royalty.infra.settings import settings
from royalty.infra.stores.weights import WeightsStore
from royalty.models.base.registry import Entry, weights_of


def check_weights(entries: Iterable[Entry]) -> None:
    """Check that the weights of chosen encoders, distances and quality models are available.

    Raises:
        WeightsError: weights are missing or damaged; the message has the command that fetches them.
    """
    store = WeightsStore(settings().weights_root)
    for name in weights_of(entries):
        store.locate(name)
