"""What runs in a process of its own: how far images have moved. Imports no orchestration."""

from __future__ import annotations

import os
import time
from typing import Any

import torch

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import Settings
from royalty.infra.workspace import open_workspace
from royalty.models.data.stored import open_set
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.valuation.drift import drift
from royalty.tasks.items.embeddings import embed_missing, embedding_key
from royalty.tasks.stages.device import best_device


def moved(before: str, after: str, settings: Settings, advance: Advance) -> dict[str, Any]:
    """Distance of two image sets by the features of the embedded encoder, as a share of what two images are apart."""
    torch.set_num_threads(os.cpu_count() or 1)
    space = open_workspace(settings)
    began = time.perf_counter()
    net = EfficientNetLite0().to(best_device())
    sides = []
    for digest in (before, after):
        items = open_set(space.artifacts.verified(digest))
        embed_missing(space.embeddings, net, items.images, items.ids, advance)
        sides.append(space.embeddings.lookup(embedding_key(net, items.images), items.ids)[1])
    found = drift(*sides, device=torch.device(best_device()))
    return {"share": found.share, "distance": found.distance, "busy_seconds": time.perf_counter() - began}
