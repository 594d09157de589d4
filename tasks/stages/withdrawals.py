"""What contributors have withdrawn from training, for tasks that read training images."""

from __future__ import annotations

from royalty.infra.ledger.optouts import optouts
from royalty.infra.workspace import Workspace
from royalty.models.data.optouts import Withdrawal


def withdrawals(space: Workspace) -> list[Withdrawal]:
    """All that was withdrawn in a home, each once, in alphabetical order."""
    known = {Withdrawal(optout.contributor, optout.works) for optout in optouts(space.acts)}
    return sorted(known, key=lambda withdrawal: (withdrawal.contributor, withdrawal.works))
