"""The table of listed images: the files that people find behind the id of an item. Imports no orchestration."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from royalty.infra.stores.artifacts import ArtifactStore

JOINED = "; "
"""Between the files of an item that was listed several times."""

NAMED = ("file_name", "source")
"""Columns of the table that say where an image was listed."""

ABOUT = ("text", "author", "license", "date")
"""Columns of the table that stand with an image on the page of its contributor."""

Provenance = tuple[tuple[str, ...], tuple[str, ...]]
"""File name and source of each listed image; see `royalty.models.data.listing.Listing.provenance`."""


def digest_of_names(provenance: Provenance) -> str:
    """SHA-256 of the file names and sources."""
    return hashlib.sha256(json.dumps(provenance).encode()).hexdigest()


def keep_listed(
    artifacts: ArtifactStore,
    ids: Sequence[str],
    provenance: Provenance,
    owners: Sequence[Sequence[str]],
    described: Mapping[str, Sequence[str]],
) -> str:
    """Store the id, file name, source and contributors of each image, in the order of the listing; returns the digest.

    Args:
        owners: names of the contributors of each listed image.
        described: further columns, such as captions and licenses: see `royalty.models.data.listing.Listing.described`.
    """
    names, sources = provenance
    known = {"id": list(ids), "file_name": names, "source": sources, "contributors": list(owners)}
    return artifacts.put(pd.DataFrame({**known, **described}).to_parquet(index=False))


def files_of(artifacts: ArtifactStore, listed: str) -> dict[str, dict[str, str]]:
    """File names by contributor and item id. A contributor's names of a shared item leave out those of others."""
    table = pd.read_parquet(io.BytesIO(artifacts.get(listed))).explode("contributors")
    names: dict[str, dict[str, str]] = {}
    for contributor, identity, name in zip(table["contributors"], table["id"], table["file_name"], strict=True):
        own = names.setdefault(contributor, {})
        own[identity] = JOINED.join(filter(None, (own.get(identity, ""), name)))
    return names


def columns_of(artifacts: ArtifactStore, listed: str, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """File names, sources and what describes items, by column, each with what its copies say, in the listing's order.

    Args:
        listed: digest of the table of listed images.
    """
    table = pd.read_parquet(io.BytesIO(artifacts.get(listed)))
    unique, position = np.unique(table["id"].to_numpy(dtype=str), return_inverse=True)
    order, counts = np.argsort(position, kind="stable"), np.bincount(position)
    columns = {}
    for column in table.columns.drop(["id", "contributors"]):
        groups = np.split(table[column].to_numpy()[order], np.cumsum(counts)[:-1])
        by_id = {identity: _joined(column, group) for identity, group in zip(unique, groups, strict=True)}
        columns[column] = tuple(by_id[identity] for identity in ids)
    return columns


def items_of(artifacts: ArtifactStore, listed: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """What the table says of those of the items that it lists, by id and column."""
    table = pd.read_parquet(io.BytesIO(artifacts.get(listed)), columns=["id"])
    known = sorted(set(ids) & set(table["id"]))
    columns = columns_of(artifacts, listed, known)
    return {identity: {name: columns[name][row] for name in columns} for row, identity in enumerate(known)}


def about_of(artifacts: ArtifactStore, listed: str, ids: Sequence[str]) -> dict[str, str]:
    """Caption, author, license and date of each item in a line, by id; without items that have none of them."""
    columns = columns_of(artifacts, listed, ids)
    lines = lines_about(columns, range(len(ids)))
    return {identity: line for identity, line in zip(ids, lines, strict=True) if line}


def lines_about(columns: Mapping[str, Sequence[str]], rows: Iterable[int]) -> Iterator[str]:
    """Caption, author, license and date of items in a line each; empty for items that have none of them."""
    stated = [columns[name] for name in ABOUT if name in columns]
    return (" · ".join(filter(None, (column[row] for column in stated))) for row in rows)


def _joined(column: str, values: Iterable[str]) -> str:
    """The values of all copies: names of files as often as there are, and each description once."""
    filled = filter(None, values)
    return JOINED.join(filled if column in NAMED else dict.fromkeys(filled))
