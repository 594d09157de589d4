"""A run whose credit is finished and whose payout was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from royalty.models.base.errors import InputError

if TYPE_CHECKING:
    from royalty.flows.credit import CreditResult


class PayoutRefused(InputError):
    """The gates or terms refused the payout. Everything else of the run is done, and its report is written.

    Attributes:
        result: the result of the run, with its credit and without amounts.
    """

    def __init__(self, reason: str, result: CreditResult) -> None:
        super().__init__(reason, result)  # the arguments from which unpickling recreates it in another process
        self.reason, self.result = reason, result

    def __str__(self) -> str:
        return self.reason
