"""Withdrawn works and the indexes of a home. Homes without indexes import nothing of them, which would take seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from royalty.infra.settings import settings
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import Workspace
from royalty.models.base.errors import InputError
from royalty.models.data.optouts import Withdrawal
from royalty.models.data.teams import credited
from royalty.tasks.stages.withdrawals import withdrawals

if TYPE_CHECKING:
    from royalty.infra.attribution.shards import ShardStore


def stores(space: Workspace) -> Iterator[ShardStore]:
    """The indexes of a home."""
    for file in sorted((space.root / "indexes").glob("*/*/index.json")):
        from royalty.infra.attribution.shards import ShardStore

        yield ShardStore(file.parent)


def indexed_contributors(space: Workspace) -> set[str]:
    """Everybody who has an image in an index of a home."""
    return {name for store in stores(space) for name in store.manifest().description["contributors"]}


def co_owners(space: Workspace, withdrawal: Withdrawal) -> set[str]:
    """The other contributors of works in the indexes of a home, also of those that were removed and not compacted."""
    names: set[str] = set()
    for store in stores(space):
        import pyarrow as pa

        from royalty.tasks.attribution.description import withdrawn_rows

        items = pa.concat_tables([part.items for part in store.open(store.manifest())])
        cells = items.filter(pa.array(withdrawn_rows(items, [withdrawal])))["contributor"]
        names.update(*(credited(cell) for cell in cells.unique().to_pylist()))
    return names - {withdrawal.contributor}


def remove_withdrawn(space: Workspace) -> list[str]:
    """Remove all items that were withdrawn from all indexes of a home.

    Returns:
        A sentence for each index that changed.

    Raises:
        StoreError: an index cannot be changed; the others are.
    """
    changes, failed = [], []
    for store in stores(space):
        from royalty.tasks.attribution.index import withdraw

        name = f"{store.folder.parent.name} {store.folder.name}"
        try:
            _, count = withdraw(store, withdrawals(space))
        except (InputError, StoreError) as error:
            failed.append(f"{name}: {error}")
            continue
        if count:
            changes.append(f"Items withdrawn and removed from the index {name}: {count}.")
    if failed:
        raise StoreError(
            f"the opt-out is recorded in {settings().root / 'optouts'}, and indexes could not be changed: "
            f"{'; '.join(failed)}. Correct that, and remove the works by `royalty index remove --model MODEL "
            "--withdrawn`"
        )
    return changes
