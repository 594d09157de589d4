"""What an index is of, and what it keeps of its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from royalty.infra.attribution.shards import COLUMNS as ALWAYS
from royalty.infra.attribution.shards import STATED, Manifest
from royalty.infra.stores.keys import code_version
from royalty.models.base.choices import Refusing
from royalty.models.base.errors import InputError
from royalty.models.base.policy import Policy
from royalty.models.base.registry import entries_of, modules_of
from royalty.models.data.labelled import Items
from royalty.models.data.listing import SEPARATOR
from royalty.models.data.optouts import Withdrawal, withdrawn_images
from royalty.models.data.teams import cell_of, credited, people
from royalty.models.encoders.registry import ENCODERS
from royalty.models.retrieval.codebook import CODE
from royalty.models.valuation.copies import earliest_members
from royalty.tasks.config.attribution import IndexConfig
from royalty.tasks.items.days import days_of_text

COLUMNS = (*ALWAYS, *STATED)
"""Metadata of an item."""


@dataclass(frozen=True)
class Description:
    """What an index is of, and by what it was built.

    Attributes:
        model, version: the generative model whose training images these are.
        encoder, shape: encoder of the images, and their channels, height and width; "" and () for given features.
        resolution: side in pixels at which the encoder sees them; None for features.
        encoder_key: name of the encoder with its weights and input size; vectors of another are not comparable.
        code: digest of the code of the encoder and of the search.
        codes, learned_for: code of the vectors, and number of items that the lists were learned for; 0 without lists.
        k, temperature, far_rate: see `royalty.tasks.config.attribution.IndexConfig`.
        shared_at: the temperature of the shares, which is `temperature` unless that is None.
        nearest, closeness: of sampled items to the other items, ascending: the distance of the nearest, and how close
            it is; see `royalty.models.valuation.attribution.closeness`.
        copies, division: see `IndexConfig`.
        alike: similarity of edges from which two images are near copies; None if copies are not grouped.
        refusing, consent, unstated: what becomes of images that may not train, also if they are added; see `policy`.
        contributors: all names, sorted.
        items: digests of the stored items that it was built from, for pictures.
    """

    model: str
    version: str
    encoder: str
    shape: tuple[int, ...]
    encoder_key: str
    code: str
    resolution: int | None = None
    codes: str = CODE
    learned_for: int = 0
    seed: int = 0
    k: int = 100
    temperature: float | None = None
    shared_at: float = 1.0
    far_rate: float = 0.01
    copies: str = "grouped"
    division: str = "earliest"
    alike: float | None = None
    refusing: Refusing = "ignore"
    consent: Refusing = "error"
    unstated: bool = True
    nearest: tuple[float, ...] = ()
    closeness: tuple[float, ...] = ()
    contributors: tuple[str, ...] = ()
    items: tuple[str, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> Description:
        known = {**manifest.description}
        for name in ("shape", "nearest", "closeness", "contributors", "items"):
            known[name] = tuple(known[name])
        return cls(**known)

    @classmethod
    def by(cls, config: IndexConfig, encoder_key: str, shape: Sequence[int] | None, items: str = "") -> Description:
        """The description of an index that is about to be built.

        Args:
            shape: of the images; None for features.
            items: digest of the stored items.
        """
        images = shape is not None
        return cls(
            model=config.model,
            version=config.version,
            encoder=config.encoder if images else "",
            shape=tuple(shape or ()),
            encoder_key=encoder_key,
            code=code_of(config.encoder if images else ""),
            resolution=None if shape is None else config.seen_at(shape[-1]),
            codes=config.code,
            k=config.k,
            temperature=config.temperature,
            far_rate=config.far_rate,
            copies=config.copies,
            division=config.division,
            refusing=config.policy.credentials,
            consent=config.policy.consent,
            unstated=config.policy.unstated,
            items=(items,) if items else (),
        )

    @property
    def policy(self) -> Policy:
        """What becomes of images that may not train."""
        return Policy(self.consent, self.unstated, self.refusing)

    @property
    def keeps_earliest(self) -> bool:
        """Whether who had an image first has its whole value; copies of features are unknown."""
        return bool(self.shape) and self.copies == "grouped" and self.division == "earliest"


def code_of(encoder: str) -> str:
    """Digest of the code that vectors and distances depend on.

    Args:
        encoder: name of the encoder; "" for features that were given.
    """
    entries = entries_of((encoder, ENCODERS))
    return code_version("royalty.models.retrieval.search", *modules_of(entries))


def table_of(items: Items) -> pa.Table:
    """The metadata of items, as an index keeps it; text that a source does not state is empty.

    Raises:
        InputError: an item has no contributor, so that nobody could be credited for it.
    """
    nothing = ("",) * len(items)
    columns = {
        "id": items.ids,
        "contributor": items.contributors or nothing,
        "license": items.described.get("license", nothing),
        "file_name": items.file_names or nothing,
        "date": items.described.get("date", nothing),
        **{name: items.described.get(name, nothing) for name in STATED},
        "source": items.sources or nothing,
    }
    lacking = next((row for row, names in enumerate(columns["contributor"]) if not names.strip(f" {SEPARATOR}")), None)
    if lacking is not None:
        raise InputError(
            f"every item of an index has a contributor, and row {lacking} has none; name one in the column "
            "`contributor`, or drop the row"
        )
    return pa.table({name: pa.array(list(columns[name]), pa.string()) for name in COLUMNS})


def stated_of(item: Mapping[str, str]) -> dict[str, str]:
    """What the source states of an item: those of `STATED` that it has."""
    return {name: item[name] for name in STATED if item[name]}


def withdrawn_rows(items: pa.Table, withdrawals: Sequence[Withdrawal]) -> np.ndarray:
    """Which rows of a table of items are withdrawn, by one of their contributors: bool, `(items,)`."""
    owners = (people(credited(cell)) for cell in items["contributor"].to_pylist())
    return withdrawn_images(owners, items["file_name"].to_pylist(), withdrawals)


def distinct(items: pa.Table, *, earliest: bool) -> tuple[np.ndarray, pa.Table]:
    """One row for each id, and these items.

    Args:
        earliest: the item of the earliest date, and of equal dates the first, keeps its contributors alone; otherwise
            the first one has the contributors of all items of that id.
    """
    ids = items["id"].to_numpy()
    if earliest:
        kept = earliest_members(
            np.unique(ids.astype(str), return_inverse=True)[1], days_of_text(items["date"].to_pylist())
        )
        return kept, items if len(kept) == len(ids) else items.take(pa.array(kept))
    unique, first, position = np.unique(ids.astype(str), return_index=True, return_inverse=True)
    if len(unique) == len(ids):
        return np.arange(len(ids)), items
    owners: dict[int, list[str]] = {}
    for place, text in zip(position.tolist(), items["contributor"].to_pylist(), strict=True):
        owners.setdefault(place, []).extend(credited(text))
    order = np.argsort(first)
    rows = first[order]
    joined = [cell_of(owners[place]) for place in order.tolist()]
    kept = items.take(pa.array(rows))
    column = kept.schema.get_field_index("contributor")
    return rows, kept.set_column(column, "contributor", pa.array(joined, pa.string()))
