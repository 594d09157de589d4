"""Worker code: divide credit among images. Imports no orchestration."""

from __future__ import annotations

import io
import time

import numpy as np
import pandas as pd
import torch

from royalty.infra.processes.progress import Advance
from royalty.infra.settings import cores
from royalty.models.base.resolution import resolution_of
from royalty.models.data.items import ImageSet
from royalty.models.encoders.registry import build_encoder
from royalty.models.valuation.image_parts import divide_credit, image_parts
from royalty.tasks.items.embeddings import embed_missing, embedding_key
from royalty.tasks.items.image_credit_stages import ImageCreditInputs, ImageCreditOutputs
from royalty.tasks.stages.context import StageContext
from royalty.tasks.stages.device import best_device
from royalty.tasks.stages.loading import load_classifier, load_images


def divide(inputs: ImageCreditInputs, context: StageContext) -> ImageCreditOutputs:
    """Embed images and references, and divide each contributor's credit."""
    torch.set_num_threads(cores())
    began, artifacts = time.perf_counter(), context.artifacts
    credit = pd.read_parquet(io.BytesIO(artifacts.get(inputs.credit)))
    names = credit["contributor"].tolist()
    train = load_images(context, inputs.train)
    references = _drawn(load_images(context, inputs.held_out), inputs.references, inputs.seed)
    items, owners = np.nonzero(_provided(train, names))
    provided = _provided(references, names)
    parts = image_parts(
        _features(inputs, context, train, context.advance)[items],
        owners,
        _features(inputs, context, references, lambda _: None),  # the progress bar counts training images
        provided,
        weights=_legible(inputs, context, train)[items] if inputs.classifier else None,
    )
    table = pd.DataFrame(
        {
            "contributor": [names[owner] for owner in owners],
            "id": [train.ids[item] for item in items],
            "share": parts.shares,
            "credit": divide_credit(parts.shares, owners, credit["credit"].to_numpy()),
        }
    )
    order = np.lexsort((table["id"], -parts.shares, owners))
    payload = table.iloc[order].to_parquet(index=False)
    return ImageCreditOutputs(
        table=artifacts.put(payload),
        images=len(table),
        references=len(references),
        scale=parts.scale,
        compared=dict(zip(names, parts.seen_by.tolist(), strict=True)),
        busy_seconds=time.perf_counter() - began,
    )


def _drawn(images: ImageSet, most: int, seed: int) -> ImageSet:
    """At most this many images, drawn at random."""
    if len(images) <= most:
        return images
    return images.take(np.sort(np.random.default_rng(seed).choice(len(images), most, replace=False)))


def _provided(images: ImageSet, names: list[str]) -> np.ndarray:
    """Who provided which image: bool, `(images, names)`."""
    columns = {name: images.membership[:, place] for place, name in enumerate(images.contributors)}
    nobody = np.zeros(len(images), dtype=bool)
    return np.stack([columns.get(name, nobody) for name in names], axis=1)


def _features(inputs: ImageCreditInputs, context: StageContext, images: ImageSet, advance: Advance) -> np.ndarray:
    """Stored embeddings of the images, `(images, dimensions)`; those that are missing are computed."""
    channels, height, width = images.images.shape[1:]
    encoder = build_encoder(
        inputs.encoder,
        shape=(channels, height, width),
        device=best_device(),
        weights=context.weights.locate,
        resolution=resolution_of(width),
    )
    embed_missing(context.embeddings, encoder, images.images, images.ids, advance)
    _, features = context.embeddings.lookup(embedding_key(encoder, images.images), images.ids)
    return features


def _legible(inputs: ImageCreditInputs, context: StageContext, images: ImageSet) -> np.ndarray:
    """The probability that each image shows its label, by the run's classifier, `(images,)`."""
    probabilities = load_classifier(context, inputs.classifier).probabilities(images.images)
    legible: np.ndarray = probabilities[np.arange(len(images)), images.labels].clip(0, 1)
    return legible
