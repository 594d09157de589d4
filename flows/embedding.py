"""Embed items on the task runner of the flow."""

from __future__ import annotations

from prefect import unmapped

from royalty.flows.fan_out import results_of
from royalty.infra.processes.progress import progress
from royalty.infra.settings import settings
from royalty.infra.workspace import place_of
from royalty.tasks.items.embedding import embed, embed_share, find_missing, keep_shares, shares_of
from royalty.tasks.items.embedding_stages import Embedded, EmbedInputs
from royalty.tasks.items.stages import ItemsOutputs


def embed_items(items: ItemsOutputs, encoder: str, model: str, resolution: int | None = None) -> Embedded:
    """Embed the images that have no embedding yet: in shares on a cluster, else in one process that uses all cores.

    Args:
        model, resolution: see `royalty.tasks.items.embedding.embed`.
    """
    if settings().runner != "threads":
        images = EmbedInputs(items.items, encoder, model, resolution)
        if (missing := find_missing(images)) is not None and missing.count:
            shares = shares_of(images, missing)
            with progress("Embed shares", len(shares)) as advance:
                embedded = results_of(embed_share.map(shares, unmapped(place_of(settings()))), advance)
            keep_shares(missing, embedded)
    return embed(items, encoder, model, resolution)  # finds nothing missing after shares
