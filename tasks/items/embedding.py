"""Embed the images of items: in one process, or in shares on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from prefect.cache_policies import NO_CACHE

from royalty.infra.processes.workers import Deferred
from royalty.infra.settings import settings
from royalty.infra.workspace import check_place, open_workspace
from royalty.models.base.registry import entries_of, modules_of
from royalty.models.base.serialization import open_packed
from royalty.models.encoders.registry import ENCODERS
from royalty.tasks.items.embedding_stages import (
    EMBED,
    EMBED_SHARE,
    Embedded,
    EmbedInputs,
    EmbedShareInputs,
    ShareEmbedded,
)
from royalty.tasks.items.embeddings import EMBEDDED_IN_A_SHARE, EMBEDDED_TOGETHER, FEATURES, ROWS
from royalty.tasks.items.stages import ItemsOutputs
from royalty.tasks.items.stored_items import load_items
from royalty.tasks.stages.running import call_in_worker, is_kept, run_in_worker
from royalty.tasks.stages.task import task

if TYPE_CHECKING:
    from royalty.tasks.items import embedding_worker
    from royalty.tasks.items.embedding_worker import Missing
else:
    embedding_worker = Deferred("royalty.tasks.items.embedding_worker")


@task(name="embed items", cache_policy=NO_CACHE)
def embed(items: ItemsOutputs, encoder: str, model: str, resolution: int | None = None) -> Embedded:
    """Embed the images that have no embedding yet, in one process.

    Args:
        model: digest of the weights if the encoder was trained here; else "".
        resolution: side in pixels at which the encoder sees images; None: its default.
    """
    inputs = EmbedInputs(items.items, encoder, model, resolution)
    return run_in_worker(
        EMBED, inputs, embedding_worker.embed, title="Embed", total=items.count, also=_modules(encoder)
    )


@task(name="find images without embedding", cache_policy=NO_CACHE)
def find_missing(images: EmbedInputs) -> Missing | None:
    """Find the images that have no embedding; None if all of them were embedded by an earlier run of `embed`."""
    if is_kept(EMBED, images, embedding_worker.embed, *_modules(images.encoder)):
        return None
    # Nothing is recorded: what is missing depends on the home, whose embeddings are no artifacts.
    return call_in_worker(embedding_worker.find_missing, images, "", title="Look for embeddings", total=1)


def shares_of(images: EmbedInputs, missing: Missing) -> list[EmbedShareInputs]:
    """The missing images in shares."""
    starts = range(0, missing.count, EMBEDDED_IN_A_SHARE)
    ends = (min(start + EMBEDDED_IN_A_SHARE, missing.count) for start in starts)
    return [EmbedShareInputs(images, missing.rows, start, end) for start, end in zip(starts, ends, strict=True)]


@task(name="embed items of a share", cache_policy=NO_CACHE, retries=1)
def embed_share(share: EmbedShareInputs, place: str) -> ShareEmbedded:
    """Embed the images of a share.

    Args:
        place: location of the stores as the flow sees it; the task may run on another machine.
    """
    check_place(settings(), place)
    return run_in_worker(EMBED_SHARE, share, embedding_worker.embed_share, also=_modules(share.images.encoder))


@task(name="keep embeddings of shares", cache_policy=NO_CACHE)
def keep_shares(missing: Missing, shares: Sequence[ShareEmbedded]) -> None:
    """Add the features of all shares to the embeddings of this home."""
    space, together = open_workspace(settings()), EMBEDDED_TOGETHER // EMBEDDED_IN_A_SHARE
    ids = load_items(space.artifacts, shares[0].inputs.images.items).ids
    rows = open_packed(space.artifacts.verified(missing.rows))[0][ROWS]
    for start in range(0, len(shares), together):
        group = shares[start : start + together]
        kept = rows[group[0].inputs.first : group[-1].inputs.last]
        features = [open_packed(space.artifacts.verified(share.outputs.features))[0][FEATURES] for share in group]
        space.embeddings.add(missing.encoder, [ids[row] for row in kept], np.concatenate(features))


def _modules(encoder: str) -> tuple[str, ...]:
    """Modules of an encoder that is loaded by name."""
    return modules_of(entries_of((encoder, ENCODERS)))
