"""The qualities of hub models, by name. Realism, which needs features only, is in `royalty.models.quality.realism`."""

from __future__ import annotations

from royalty.models.base.checkpoints import Weights, no_weights
from royalty.models.base.errors import by_name
from royalty.models.quality.pyiqa_metrics import METRICS, pyiqa_quality
from royalty.models.quality.quality import Quality

QUALITIES = {"maniqa": "maniqa", **{f"pyiqa:{name}": name for name in METRICS}}
"""Metrics of pyiqa: MANIQA, learned on KonIQ-10k, has a name of its own."""


def build_quality(name: str, *, device: str = "cpu", weights: Weights = no_weights) -> Quality:
    """The quality of a name.

    Raises:
        InputError: no quality has this name, it takes weights and none are given, or a package is missing.
    """
    return pyiqa_quality(by_name(name, QUALITIES, "quality"), weights).to(device)
