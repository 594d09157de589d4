"""The table of listed images: the files that people find behind the id of an item. Imports no orchestration."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from royalty.infra.stores.artifacts import ArtifactStore

JOINED = "; "
"""Between the files of an item that was listed several times."""

Provenance = tuple[tuple[str, ...], tuple[str, ...]]
"""File name and source of each listed image; see `royalty.models.data.listing.Listing.provenance`."""


def digest_of_names(provenance: Provenance) -> str:
    """SHA-256 of the file names and sources."""
    return hashlib.sha256(json.dumps(provenance).encode()).hexdigest()


def keep_listed(
    artifacts: ArtifactStore, ids: Sequence[str], provenance: Provenance, owners: Sequence[Sequence[str]]
) -> str:
    """Store the id, file name, source and contributors of each image, in the order of the listing; returns the digest.

    Args:
        owners: names of the contributors of each listed image.
    """
    names, sources = provenance
    table = pd.DataFrame({"id": list(ids), "file_name": names, "source": sources, "contributors": list(owners)})
    return artifacts.put(table.to_parquet(index=False))


def files_of(artifacts: ArtifactStore, listed: str) -> dict[str, dict[str, str]]:
    """File names by contributor and item id. A contributor's names of a shared item leave out those of others."""
    table = pd.read_parquet(io.BytesIO(artifacts.get(listed))).explode("contributors")
    names: dict[str, dict[str, str]] = {}
    for contributor, identity, name in zip(table["contributors"], table["id"], table["file_name"], strict=True):
        own = names.setdefault(contributor, {})
        own[identity] = JOINED.join(filter(None, (own.get(identity, ""), name)))
    return names


def provenance_of(artifacts: ArtifactStore, listed: str, ids: Sequence[str]) -> Provenance:
    """File names and sources of items, each with those of all its copies, in the order of the listing.

    Args:
        listed: digest of the table of listed images.
    """
    table = pd.read_parquet(io.BytesIO(artifacts.get(listed)))
    unique, position = np.unique(table["id"].to_numpy(dtype=str), return_inverse=True)
    order, counts = np.argsort(position, kind="stable"), np.bincount(position)
    columns = []
    for column in ("file_name", "source"):
        groups = np.split(table[column].to_numpy()[order], np.cumsum(counts)[:-1])
        by_id = {identity: JOINED.join(filter(None, group)) for identity, group in zip(unique, groups, strict=True)}
        columns.append(tuple(by_id[identity] for identity in ids))
    return columns[0], columns[1]
