"""What contributors consent to, as the metadata of their images says: training, and the terms of the license."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from royalty.models.base.choices import Refusing
from royalty.models.base.errors import InputError
from royalty.models.data.listing import Listing, as_text
from royalty.models.data.refusals import Kept, keep_allowed

CONSENT = ("training_mining", "license_terms")
"""The columns of consent."""
ALLOWED = "allowed"
WRITTEN = {
    "allowed": ALLOWED,
    "true": ALLOWED,
    "yes": ALLOWED,
    "notallowed": "notAllowed",
    "false": "notAllowed",
    "no": "notAllowed",
    "constrained": "constrained",
}
"""How `training_mining` may be written, without case, spaces, hyphens and underscores, and what it means.

The meanings are those of Content Credentials (CAWG, training and data mining assertion 1.1).
"""
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:/_-]{0,199}")
LONGEST = 2000
"""Characters of the longest address of terms."""


def training_mining(where: str, value: object) -> str:
    """What the cell `training_mining` of an image says: `allowed`, `notAllowed`, `constrained`, or nothing.

    Raises:
        InputError: it says something else.
    """
    written = as_text(value)
    meaning = WRITTEN.get(re.sub(r"[\s_-]", "", written).casefold(), "")
    if written and not meaning:
        raise InputError(
            f"{where}: `training_mining` is `allowed`, `notAllowed` or `constrained`, or empty; got {written[:80]!r}"
        )
    return meaning


def license_terms(where: str, value: object) -> str:
    """The address (http or https) or the identifier of the terms of an image's license, or nothing.

    Raises:
        InputError: it is neither.
    """
    written = as_text(value)
    if not written or (IDENTIFIER.fullmatch(written) and "//" not in written) or _is_address(written):
        return written
    raise InputError(
        f"{where}: `license_terms` is an address such as `https://example.org/license.xml`, or an identifier without "
        f"spaces; got {written[:80]!r}"
    )


def consent_of(where: str, record: Mapping[str, Any]) -> dict[str, str]:
    """What the row of an image says of consent, by the names of `CONSENT`.

    Raises:
        InputError: a cell says something else.
    """
    return {
        "training_mining": training_mining(where, record.get("training_mining")),
        "license_terms": license_terms(where, record.get("license_terms")),
    }


def _is_address(written: str) -> bool:
    if len(written) > LONGEST or any(character.isspace() for character in written):
        return False
    try:
        parts = urlsplit(written)
    except ValueError:  # half an IPv6 address
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def consents(listing: Listing) -> dict[str, int]:
    """Number of images by `training_mining`; the empty name counts images that state none."""
    return dict(Counter(entry.training_mining for entry in listing.entries).most_common())


def consented(listing: Listing, refusing: Refusing, *, unstated: bool = True) -> Kept:
    """The images that may be trained on. `constrained` refuses: its conditions have to be read by a person.

    Args:
        unstated: whether images that state nothing may be trained on.

    Raises:
        InputError: other images are an error, or no image is left.
    """
    allowing = {ALLOWED, ""} if unstated else {ALLOWED}
    allowed = np.array([entry.training_mining in allowing for entry in listing.entries], dtype=bool)
    why = "have a `training_mining` that does not allow training"
    if not unstated:
        why = "have no `training_mining` that allows training, and `consent.unstated` is `refused`"
    return keep_allowed(listing, allowed, refusing, why, "consent")
