"""Worker code: measure the distance between two image sets. Imports no orchestration."""

from __future__ import annotations

import time

import torch

from royalty.infra.settings import cores
from royalty.models.data.stored import open_set
from royalty.models.encoders.efficientnet import EfficientNetLite0
from royalty.models.valuation.drift import drift
from royalty.tasks.items.embeddings import embed_missing, embedding_key
from royalty.tasks.revalue.stages import DriftInputs, DriftOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device


def measure_drift(inputs: DriftInputs, context: StageContext) -> DriftOutputs:
    """Measure the distance between two image sets by the features of the embedded encoder."""
    torch.set_num_threads(cores())
    began = time.perf_counter()
    net = EfficientNetLite0().to(best_device())
    sides = []
    for digest in (inputs.before, inputs.after):
        items = open_set(context.artifacts.verified(digest))
        embed_missing(context.embeddings, net, items.images, items.ids, context.advance)
        sides.append(context.embeddings.lookup(embedding_key(net, items.images), items.ids)[1])
    moved = drift(*sides, device=torch.device(best_device()))
    return DriftOutputs(float(moved.share), float(moved.distance), time.perf_counter() - began)
