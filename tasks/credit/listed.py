"""The table of listed images: the files that people find behind the id of an item. Imports no orchestration."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from royalty.infra.stores.artifacts import ArtifactStore
from royalty.models.data.listing import Entry

JOINED = "; "
"""Between the files of an item that was listed several times."""

DETAILS = {"text": "Caption", "license": "License", "date": "Date"}
"""Titles of what is known of an image besides its contributors, by the field of its entry."""

Provenance = tuple[tuple[str, ...], tuple[str, ...]]
"""File name and source of each listed image; see `royalty.models.data.listing.Listing.provenance`."""


def digest_of_names(provenance: Provenance) -> str:
    """SHA-256 of the file names and sources."""
    return hashlib.sha256(json.dumps(provenance).encode()).hexdigest()


def keep_listed(artifacts: ArtifactStore, ids: Sequence[str], provenance: Provenance, entries: Sequence[Entry]) -> str:
    """Store what is known of each image in the order of the listing, one row for each; returns the digest."""
    names, sources = provenance
    columns = {
        "id": list(ids),
        "file_name": names,
        "source": sources,
        "contributors": [entry.contributors for entry in entries],
        **{column: [getattr(entry, column) for entry in entries] for column in DETAILS},
    }
    return artifacts.put(pd.DataFrame(columns).to_parquet(index=False))


def details_of(artifacts: ArtifactStore, listed: str, ids: Collection[str]) -> dict[str, dict[str, str]]:
    """What is known of items, by id: caption, license and date, each with a title; of copies, all that differ.

    Args:
        listed: digest of the table of listed images.
    """
    table = pd.read_parquet(io.BytesIO(artifacts.get(listed)))
    known = {column: title for column, title in DETAILS.items() if column in table}  # earlier versions kept none
    details: dict[str, dict[str, str]] = {}
    for row in table[table["id"].isin(set(ids))].to_dict("records"):
        own = details.setdefault(row["id"], {})
        for column, title in known.items():
            if row[column] and row[column] not in own.get(title, "").split(JOINED):
                own[title] = JOINED.join(filter(None, (own.get(title, ""), row[column])))
    return details


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
