"""Settings that a run would ignore."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def check_unused(config: Any) -> None:
    """Check that no setting was changed that does nothing beside the others.

    Args:
        config: a `royalty.tasks.config.credit.CreditConfig`, whose module imports this one.

    Raises:
        ValueError: a setting does nothing.
    """
    for setting, value, reason in _unused(config):
        raise ValueError(f"`{setting}: {value}` does nothing: {reason}. Leave it out")


def _unused(config: Any) -> Iterator[tuple[str, object, str]]:
    """Name and value of each ignored setting, and why it is."""
    credit, fidelity, images = config.credit, config.fidelity, config.coalitions.units == "images"
    default = type(credit)()
    if credit.value != "beta" and credit.beta != default.beta:
        yield "credit.beta", list(credit.beta), f"it is of `credit.value: beta`, which is `{credit.value}`"
    if fidelity.scaled and not fidelity.retrain:
        yield "fidelity.scaled", "true", "it scales by retrained models, and `fidelity.retrain` is 0"
    if images or fidelity.retrain:
        does = "`coalitions.units: images` has an estimator of its own" if images else "a correction is by `mixed`"
        if credit.estimator not in (default.estimator, *(() if images else ("mixed",))):
            yield "credit.estimator", credit.estimator, does
        if credit.ridge != default.ridge:
            yield "credit.ridge", credit.ridge, does
        if credit.bootstrap != default.bootstrap:
            yield "credit.bootstrap", credit.bootstrap, does
