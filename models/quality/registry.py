"""The judges of image quality by name; importing this file does not import torch.

Those by features alone are in `royalty.models.quality.by_features`. To add a judge, write its
builder in a file of this folder, and its line below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from royalty.models.base.errors import by_name
from royalty.models.base.registry import Entry
from royalty.models.base.weights import Weights, no_weights

if TYPE_CHECKING:
    from royalty.models.quality.quality import Quality


def _pyiqa(metric: str, *, learned: bool = True) -> Entry:
    weights = (f"pyiqa:{metric}",) if learned else ()
    return Entry("royalty.models.quality.pyiqa_metrics:build", weights, {"metric": metric})


QUALITIES: Mapping[str, Entry] = {
    "maniqa": _pyiqa("maniqa"),
    "pyiqa:maniqa": _pyiqa("maniqa"),
    "pyiqa:maniqa-pipal": _pyiqa("maniqa-pipal"),
    "pyiqa:maniqa-kadid": _pyiqa("maniqa-kadid"),
    "pyiqa:cnniqa": _pyiqa("cnniqa"),
    "pyiqa:hyperiqa": _pyiqa("hyperiqa"),
    "pyiqa:nima": _pyiqa("nima"),
    "pyiqa:nima-koniq": _pyiqa("nima-koniq"),
    "pyiqa:nima-spaq": _pyiqa("nima-spaq"),
    "pyiqa:piqe": _pyiqa("piqe", learned=False),
}
"""A builder takes the folders of its weights, and by keyword `device`, a torch device.

Metrics of pyiqa on offer are those whose weights, of the backbone too, are in one checkpoint, or that have none. Others
take further files, from places of their own. MANIQA, learned on KonIQ-10k, also has a short name.
"""


def build_quality(name: str, *, device: str = "cpu", weights: Weights = no_weights) -> Quality:
    """The quality of a name.

    Raises:
        InputError: no quality has this name, it takes weights and none are given, or a package is missing.
    """
    quality: Quality = by_name(name, QUALITIES, "quality").build(weights, device=device)
    return quality
