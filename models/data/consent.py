"""What contributors consent to, as the metadata of their images or `consent.csv` says: training, and on which terms."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from royalty.models.base.choices import Refusing
from royalty.models.base.errors import InputError
from royalty.models.data.listing import STATED, Entry, Listing, as_text
from royalty.models.data.names import person_name
from royalty.models.data.refusals import Kept, keep_allowed
from royalty.models.data.teams import people

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
GIVEN, REFUSED, UNKNOWN, REFERENCE = "given", "refused", "unknown", "by reference"
ANSWERS = {
    "given": GIVEN,
    "granted": GIVEN,
    "true": GIVEN,
    "yes": GIVEN,
    "refused": REFUSED,
    "denied": REFUSED,
    "withdrawn": REFUSED,
    "false": REFUSED,
    "no": REFUSED,
    "unknown": UNKNOWN,
}
"""How `consent` may be written, without case and spaces, and what it means."""
REGISTER = "consent.csv"
REGISTERED = ("consent", "consent_date", "source")
"""Columns of `consent.csv` beside `contributor` and `file_name`."""
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:/_-]{0,199}")
LONGEST = 2000
"""Characters of the longest address of terms, and of the longest source."""
JOINED = "; "
"""Between what several contributors of an image state."""


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
    if not written or _is_identifier(written) or _is_address(written):
        return written
    raise InputError(
        f"{where}: `license_terms` is an address such as `https://example.org/license.xml`, or an identifier without "
        f"spaces; got {written[:80]!r}"
    )


def consent(where: str, value: object) -> str:
    """What the cell `consent` of an image says: given, refused, unknown, a reference to a consent, or nothing.

    Raises:
        InputError: it says something else.
    """
    written = as_text(value)
    answer = ANSWERS.get(written.casefold(), "")
    if not written or answer or _is_address(written) or (_is_identifier(written) and _has_letter_and_digit(written)):
        return answer or written
    raise InputError(
        f"{where}: `consent` is `given`, `refused`, `unknown`, or a reference: an address, or an identifier with a "
        f"letter and a digit, such as `contract-2026-12`; got {written[:80]!r}"
    )


def consent_date(where: str, value: object) -> str:
    """The day of a consent, such as `2026-05-01`, or nothing.

    Raises:
        InputError: it is none.
    """
    written = as_text(value)
    try:
        return datetime.fromisoformat(written).date().isoformat() if written else ""
    except ValueError:
        raise InputError(f"{where}: `consent_date` is a day, such as 2026-05-01; got {written[:80]!r}") from None


def obtained_from(where: str, value: object) -> str:
    """Where an image was obtained, in one line.

    Raises:
        InputError: it is too long.
    """
    written = " ".join(as_text(value).split())
    if len(written) > LONGEST:
        raise InputError(f"{where}: `source` has at most {LONGEST} characters, and this has {len(written)}; shorten it")
    return written


READ: Mapping[str, Callable[[str, object], str]] = {
    "training_mining": training_mining,
    "license_terms": license_terms,
    "consent": consent,
    "consent_date": consent_date,
    "source": obtained_from,
}


def consent_of(where: str, record: Mapping[str, Any]) -> dict[str, str]:
    """What the row of an image says of consent, by the fields of its entry; see `STATED`.

    Raises:
        InputError: a cell says something else.
    """
    return {field: READ[column](where, record.get(column)) for column, field in STATED.items()}


def with_register(
    path: Path, rows: Iterable[tuple[int, Mapping[str, str]]], entries: Sequence[Entry]
) -> tuple[Entry, ...]:
    """Entries with what a register of consent says of their contributors, where their own row says nothing.

    A row is of a contributor, or with `file_name` of one image of theirs, which goes before. One refusal is a refusal,
    of several contributors or of their rows and those of the image; consent is given if each contributor gave it.

    Args:
        rows: numbers and cells of `consent.csv`.

    Raises:
        InputError: a cell says something else, a row stands twice, or is of a contributor or file without an image.
    """
    owned = {(name, file) for entry in entries for name in people(entry.contributors) for file in ("", entry.file_name)}
    stated: dict[tuple[str, str], dict[str, str]] = {}
    for line, row in rows:
        where = f"{path}, row {line}"
        whose = person_name(where, row["contributor"]), as_text(row.get("file_name"))
        if whose in stated:
            raise InputError(f"{where}: {' and '.join(filter(None, whose))!r} stands twice; keep one row")
        if whose not in owned:
            raise InputError(
                f"{where}: contributor {whose[0]!r} has no image {whose[1]!r}".removesuffix(" ''")
                + " in the metadata; correct or drop the row"
            )
        stated[whose] = {STATED[column]: READ[column](where, row.get(column)) for column in REGISTERED}
    return tuple(_registered(entry, stated) for entry in entries)


def _registered(entry: Entry, stated: Mapping[tuple[str, str], Mapping[str, str]]) -> Entry:
    names = people(entry.contributors)
    of_people = [{**stated.get((name, ""), {}), **_filled(stated.get((name, entry.file_name), {}))} for name in names]
    found = {field: [each.get(field, "") for each in of_people] for field in map(STATED.__getitem__, REGISTERED)}
    found["consent"] = _of_all(found["consent"])
    joined = {field: JOINED.join(dict.fromkeys(filter(None, cells))) for field, cells in found.items()}
    own = {field: getattr(entry, field) for field in joined}
    refused = REFUSED in (own["consent"], joined["consent"])
    kept: dict[str, Any] = {
        field: joined[field] if text in ("", UNKNOWN) and joined[field] else text for field, text in own.items()
    }
    return replace(entry, **(kept | {"consent": REFUSED} if refused else kept))


def _of_all(answers: Sequence[str]) -> list[str]:
    """The consent to an image of several people."""
    if REFUSED in answers:
        return [REFUSED]
    silent = [answer for answer in answers if answer in ("", UNKNOWN)]
    return list(answers) if not silent else [UNKNOWN] if any(answers) else []


def _filled(cells: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in cells.items() if text}


def _is_identifier(written: str) -> bool:
    return bool(IDENTIFIER.fullmatch(written)) and "//" not in written


def _has_letter_and_digit(written: str) -> bool:
    return any(map(str.isalpha, written)) and any(map(str.isdigit, written))


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


def given(listing: Listing) -> dict[str, int]:
    """Number of images by `consent`, references counted together; the empty name counts images that state none."""
    answers = (GIVEN, REFUSED, UNKNOWN, "")
    named = (entry.consent if entry.consent in answers else REFERENCE for entry in listing.entries)
    return dict(Counter(named).most_common())


def consented(listing: Listing, refusing: Refusing, *, unstated: bool = True) -> Kept:
    """The images that may be trained on. `constrained` refuses: its conditions have to be read by a person.

    Args:
        unstated: whether images may be trained on of which neither `training_mining` nor `consent` says so.

    Raises:
        InputError: other images are an error, or no image is left.
    """
    allowed = np.array([_allows(entry, unstated) for entry in listing.entries], dtype=bool)
    why = "have a `training_mining` that does not allow training, or a `consent` that is refused"
    if not unstated:
        why = "have no `training_mining` that allows training and no `consent`, and `consent.unstated` is `refused`"
    return keep_allowed(listing, allowed, refusing, why, "consent")


def _allows(entry: Entry, unstated: bool) -> bool:
    if entry.consent == REFUSED or entry.training_mining not in (ALLOWED, ""):
        return False
    return unstated or entry.training_mining == ALLOWED or entry.consent not in ("", UNKNOWN)
