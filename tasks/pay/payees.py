"""Load the payees of a run's contributors."""

from __future__ import annotations

from royalty.models.data.folder import CONTRIBUTORS
from royalty.models.payout.payees import Payee, read_payees
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.config.sources import EmbeddedSource, FileSource, FolderSource


def load_payees(payout: PayoutConfig, data: EmbeddedSource | FileSource) -> dict[str, Payee] | None:
    """Load payees by contributor from the configured file, or else from `contributors.csv` in the image folder.

    Returns:
        None if there are no payees: all are paid by name.

    Raises:
        InputError: see `royalty.models.payout.payees.read_payees`.
    """
    if payout.payees is not None:
        return read_payees(payout.payees)
    beside = data.path / CONTRIBUTORS if isinstance(data, FolderSource) else None
    return read_payees(beside) if beside is not None and beside.exists() else None
