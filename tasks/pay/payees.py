"""Load the payees of a run's contributors."""

from __future__ import annotations

from collections.abc import Sequence

from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from royalty.models.data.folder import CONTRIBUTORS
from royalty.models.data.teams import people
from royalty.models.payout.payees import Payee, read_payees
from royalty.tasks.config.payout import PayoutConfig
from royalty.tasks.config.sources import EmbeddedSource, FileSource, FolderSource


def check_terms(payout: PayoutConfig, contributors: Sequence[str], run: str) -> None:
    """Check, before any training, that the terms of a payout suit the contributors.

    Args:
        run: name of the run, whose earlier pools may have left money to those who took their images back.

    Raises:
        InputError: a dispute of nobody, or a floor that the pool does not suffice for if all contributors earn.
    """
    contributors = people(contributors)
    unknown = sorted(set(payout.disputed) - set(contributors))
    if unknown:
        pool = {"pool": payout.name or run, "period": payout.period or "", "source": run}
        left = open_workspace(settings()).ledger.departed(currency=payout.currency, contributors=contributors, **pool)
        unknown = [name for name in unknown if name not in left]
    if unknown:
        raise InputError(
            f"`payout.disputed` names contributors, and {', '.join(map(repr, unknown))} brought no images; there are "
            f"{', '.join(contributors)}. Correct the name or leave it out"
        )
    if payout.floor * len(contributors) > 1:
        raise InputError(
            f"`payout.floor` of {payout.floor} for each of {len(contributors)} contributors is more than the pool; "
            f"lower it to at most {1 / len(contributors):.4g}"
        )


def load_payees(payout: PayoutConfig, data: EmbeddedSource | FileSource | None) -> dict[str, Payee] | None:
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
