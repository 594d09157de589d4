"""Names of people who act in cases, opt-outs and approvals."""

from __future__ import annotations

from royalty.infra.settings import settings
from royalty.models.base.errors import InputError
from royalty.models.data.names import person_name


def acting(by: str | None) -> str:
    """Name of the person who acts.

    Args:
        by: by default `ROYALTY_ACTOR`.

    Raises:
        InputError: it is empty, or has characters that nobody sees.
    """
    if not (name := person_name("--by", settings().actor if by is None else by)):
        raise InputError("who acts has a name; give `--by NAME`, or set ROYALTY_ACTOR")
    return name
