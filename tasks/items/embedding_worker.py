"""Worker code: embed images. Imports no orchestration."""

from __future__ import annotations

import time

import torch

from royalty.infra.settings import cores
from royalty.models.base.errors import InputError
from royalty.models.encoders.encoder import Encoder
from royalty.models.encoders.preact_resnet import PreActResNet18
from royalty.models.encoders.registry import build_encoder
from royalty.tasks.items.embeddings import embed_missing, embedding_key, shape_of
from royalty.tasks.items.stages import EmbedInputs, EmbedOutputs
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device


def embed(inputs: EmbedInputs, context: StageContext) -> EmbedOutputs:
    """Embed the images that have no embedding yet."""
    torch.set_num_threads(cores())
    items = load_items(context.artifacts, inputs.items)
    if items.images is None:
        raise InputError("one side has images and the other features; give both as images, or both as features")
    began, device = time.perf_counter(), best_device()
    net: Encoder = (
        PreActResNet18.from_bytes(context.artifacts.get(inputs.model)).to(device)
        if inputs.model
        else build_encoder(
            inputs.encoder,
            shape=shape_of(items.images),
            device=device,
            weights=context.weights.locate,
            resolution=inputs.resolution,
        )
    )
    embedded = embed_missing(context.embeddings, net, items.images, items.ids, context.advance)
    return EmbedOutputs(embedding_key(net, items.images), embedded, time.perf_counter() - began)
