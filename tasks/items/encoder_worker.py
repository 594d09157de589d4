"""Worker code: train an encoder on labelled images. Imports no orchestration."""

from __future__ import annotations

import time

import numpy as np
import torch

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import cores
from royalty.models.base.errors import InputError
from royalty.models.data.labelled import numbered
from royalty.models.encoders.preact_resnet import PreActResNet18
from royalty.tasks.config.encoding import EncodingConfig
from royalty.tasks.items.stages import EncoderInputs, EncoderOutputs
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device


def train_encoder(inputs: EncoderInputs, context: StageContext) -> EncoderOutputs:
    """Train a classifier on labelled images; its last activations are the features."""
    torch.set_num_threads(cores())
    items = load_items(context.artifacts, inputs.val)
    labels, _ = numbered(items.labels, items.labels)
    if items.images is None or labels is None:
        raise InputError("`encoding.encoder: preact-resnet18` is trained on validation images with labels; add labels")
    began = time.perf_counter()
    net = trained_encoder(inputs.encoding, items.images, labels, inputs.seed, context.advance)
    return EncoderOutputs(context.artifacts.put(net.to_bytes()), time.perf_counter() - began)


def trained_encoder(
    encoding: EncodingConfig, images: np.ndarray, labels: np.ndarray, seed: int, advance: Advance
) -> PreActResNet18:
    """Train a classifier on images, `(items, channels, height, width)`, and their labels, `(items,)`."""
    names, targets = np.unique(labels, return_inverse=True)
    net = PreActResNet18(images.shape[1], len(names), width=encoding.width, seed=seed).to(best_device())
    net.fit(images, targets, steps=encoding.steps, seed=seed, progress=advance)
    return net
