"""Worker code: embed images, in one process or in shares. Imports no orchestration."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from royalty.infra.settings import cores
from royalty.models.base.errors import InputError
from royalty.models.base.serialization import open_packed, pack
from royalty.models.data.labelled import Items
from royalty.models.encoders.encoder import Encoder
from royalty.models.encoders.preact_resnet import PreActResNet18
from royalty.models.encoders.registry import build_encoder
from royalty.tasks.items.embedding_stages import EmbedInputs, EmbedOutputs, EmbedShareInputs, EmbedShareOutputs
from royalty.tasks.items.embeddings import FEATURES, ROWS, embed_missing, embedding_key, missing_rows, shape_of
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device, one_gpu


@dataclass(frozen=True)
class Missing:
    """The images that have no embedding.

    Attributes:
        encoder: key of the embeddings in the store.
        rows: digest of the rows of these images.
        count: their number.
    """

    encoder: str
    rows: str
    count: int


def embed(inputs: EmbedInputs, context: StageContext) -> EmbedOutputs:
    """Embed the images that have no embedding yet."""
    torch.set_num_threads(cores())
    began = time.perf_counter()
    items, images, net = _opened(inputs, context)
    embedded = embed_missing(context.embeddings, net, images, items.ids, context.advance)
    return EmbedOutputs(embedding_key(net, images), embedded, time.perf_counter() - began)


def find_missing(inputs: EmbedInputs, context: StageContext) -> Missing:
    """Find the images that have no embedding yet, and store their rows."""
    items, images, net = _opened(inputs, context)
    rows = missing_rows(context.embeddings, net, images, items.ids)
    return Missing(embedding_key(net, images), context.artifacts.put(pack({ROWS: rows}, {})), len(rows))


def embed_share(inputs: EmbedShareInputs, context: StageContext) -> EmbedShareOutputs:
    """Embed the images of a share, and store their features as an artifact."""
    torch.set_num_threads(context.threads)
    began, artifacts = time.perf_counter(), context.artifacts
    rows = open_packed(artifacts.verified(inputs.rows))[0][ROWS][inputs.first : inputs.last]
    with one_gpu(context.locks):
        _, images, net = _opened(inputs.images, context)
        features = net.features(images[rows])
    kept = artifacts.put(pack({FEATURES: features.astype(np.float32)}, {}))
    return EmbedShareOutputs(kept, time.perf_counter() - began)


def _opened(inputs: EmbedInputs, context: StageContext) -> tuple[Items, np.ndarray, Encoder]:
    """The items, their images and the encoder.

    Raises:
        InputError: the items have no images.
    """
    items = load_items(context.artifacts, inputs.items)
    if items.images is None:
        raise InputError("one side has images and the other features; give both as images, or both as features")
    device = best_device()
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
    return items, items.images, net
