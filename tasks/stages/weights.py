"""Weights that a configuration needs, looked for before any work."""

from __future__ import annotations

from royalty.infra.settings import settings
from royalty.infra.stores.weights import WeightsStore
from royalty.models.base.choices import weights_of


def check_weights(*chosen: str) -> None:
    """Refuse encoders, distances and qualities whose weights are not here.

    Raises:
        WeightsError: weights are missing or damaged; the message says how to fetch them.
    """
    store = WeightsStore(settings().weights_root)
    for name in weights_of(*chosen):
        store.locate(name)
