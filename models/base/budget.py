"""The number of items that a selection may take."""

from __future__ import annotations

from royalty.models.base.errors import InputError


def check_budget(budget: int, items: int) -> None:
    """Check that a budget is from 1 to the number of items.

    Raises:
        InputError: it is not.
    """
    if not 1 <= budget <= items:
        raise InputError(
            f"`budget` is the number of items to select, from 1 to all {items}; got {budget}. "
            + ("Lower it" if budget > items else "Raise it")
        )
