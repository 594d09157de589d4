"""What contributors consent to decides what trains: counted, left out or refused, by contributor."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from royalty.models.base.errors import InputError
from royalty.models.data.consent import (
    consent,
    consent_date,
    consented,
    consents,
    given,
    license_terms,
    training_mining,
    with_register,
)
from royalty.models.data.folder import read_manifest
from royalty.models.data.licenses import licensed
from royalty.models.data.listing import Entry, Listing
from royalty.models.data.spdx import unrecognized
from tests.conftest import save_digits

OWNERS = ("ann", "bob", "cy") * 3
GIVEN: tuple[Any, ...] = ("allowed", "not-allowed", "", "Allowed", "constrained", "yes", True, False, None)
MEANT = ("allowed", "notAllowed", "", "allowed", "constrained", "allowed", "allowed", "notAllowed", "")
TERMS = "https://example.org/license.xml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = save_digits(tmp_path / "photos", list(OWNERS))
    (tmp_path / "photos" / "metadata.csv").unlink()
    rows = [
        {
            "file_name": str(file.relative_to(tmp_path / "photos")),
            "contributor": owner,
            "label": str(row % 2),
            "training_mining": given,
        }
        for row, (file, owner, given) in enumerate(zip(files, OWNERS, GIVEN, strict=True))
    ]
    rows[0] |= {"license": "own", "license_terms": TERMS}
    (tmp_path / "photos" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "photos"


@pytest.fixture
def listing(folder: Path) -> Listing:
    return read_manifest(folder)


def test_columns_are_read_in_the_words_of_content_credentials(listing: Listing) -> None:
    assert tuple(entry.training_mining for entry in listing.entries) == MEANT
    assert consents(listing) == {"allowed": 4, "notAllowed": 2, "": 2, "constrained": 1}
    assert listing.terms() == {"": 8, TERMS: 1}


def test_refusals_are_counted_left_out_or_an_error_by_contributor(listing: Listing) -> None:
    assert consented(listing, "ignore").listing is listing
    counted = consented(listing, "count")
    assert (counted.listing, counted.refused) == (listing, {"bob": 3})
    left = consented(listing, "leave-out")
    assert (len(left.listing), left.refused, left.without) == (6, {"bob": 3}, ("bob",))
    with pytest.raises(InputError, match=r"3 of 9 images have a `training_mining` that does not allow training.*bob"):
        consented(listing, "error")
    assert consented(left.listing, "error").refused == {}
    strict = consented(listing, "leave-out", unstated=False)
    assert (len(strict.listing), strict.refused) == (4, {"bob": 3, "cy": 2})


def test_members_of_a_team_are_counted_each(listing: Listing) -> None:
    entries = [replace(entry, contributors=("ann:2;bob:1",)) for entry in listing.entries]
    assert consented(replace(listing, entries=tuple(entries)), "count").refused == {"ann": 3, "bob": 3}


def test_terms_are_allowed_like_licenses_and_refusals_counted_by_contributor(listing: Listing) -> None:
    chosen = licensed(listing, [TERMS], leave_out=True)
    assert [entry.file_name for entry in chosen.listing.entries] == ["0.png"]
    assert (chosen.left_out, chosen.left_out_of) == ({"": 8}, {"ann": 2, "bob": 3, "cy": 3})


def test_consent_is_part_of_what_is_read_and_listings_without_it_keep_their_digest(listing: Listing) -> None:
    bare = [replace(entry, training_mining="", license_terms="") for entry in listing.entries]
    without = replace(listing, entries=tuple(bare))
    other = replace(listing, entries=(replace(bare[0], training_mining="allowed"), *bare[1:]))
    assert len({each.digest() for each in (listing, without, other)}) == 3


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Given", "given"),
        (True, "given"),
        ("withdrawn", "refused"),
        ("no", "refused"),
        ("unknown", "unknown"),
        (None, ""),
        ("contract-2026-12", "contract-2026-12"),
        ("https://example.org/c", "https://example.org/c"),
    ],
)
def test_consent_is_an_answer_or_a_reference(written: object, meant: str) -> None:
    assert consent("row 2", written) == meant


@pytest.mark.parametrize("written", ["refusd", "1", "0", "yes please 2", "signed", "contract//1"])
def test_what_is_neither_is_an_error_so_that_no_typing_error_is_a_consent(written: str) -> None:
    with pytest.raises(InputError, match="row 2: `consent` is `given`, `refused`, `unknown`, or a reference"):
        consent("row 2", written)


def test_a_day_of_consent_is_a_day() -> None:
    assert [consent_date("", day) for day in ("2026-05-01", datetime(2026, 5, 1, 12), date(2026, 5, 1), "")] == [
        "2026-05-01",
        "2026-05-01",
        "2026-05-01",
        "",
    ]
    with pytest.raises(InputError, match="row 2: `consent_date` is a day"):
        consent_date("row 2", "1.5.2026")


def register(folder: Path, *rows: str, head: str = "contributor,file_name,consent,consent_date,source") -> Path:
    (folder / "consent.csv").write_text("\n".join([head, *rows]))
    return folder


def test_a_register_says_what_the_rows_of_images_do_not(folder: Path) -> None:
    before = read_manifest(folder)
    written = json.dumps({**json.loads((folder / "metadata.jsonl").read_text().splitlines()[0]), "source": "studio"})
    rows = (folder / "metadata.jsonl").read_text().splitlines()
    (folder / "metadata.jsonl").write_text("\n".join([written, *rows[1:]]))
    register(
        folder,
        "ann,,given,2026-05-01,her portfolio",
        f"ann,{before.entries[3].file_name},refused,2026-06-01,",
        "cy,,contract-7,,",
    )
    listing = read_manifest(folder)
    ann = [entry for entry in listing.entries if entry.contributors == ("ann",)]
    assert [entry.consent for entry in ann] == ["given", "refused", "given"]
    assert [entry.consent_date for entry in ann] == ["2026-05-01", "2026-06-01", "2026-05-01"]
    assert [entry.obtained_from for entry in ann] == ["studio", "her portfolio", "her portfolio"]
    assert given(listing) == {"given": 2, "refused": 1, "": 3, "by reference": 3}
    assert listing.sources() == {"": 6, "her portfolio": 2, "studio": 1}
    assert listing.digest() != before.digest()
    assert list(listing.described())[-3:] == ["consent", "consent_date", "obtained_from"]


def test_consent_that_is_refused_refuses_and_consent_that_is_given_is_stated(listing: Listing) -> None:
    answers = ("given", "refused", "unknown", "contract-7", "", "", "refused", "given", "given")
    entries = [replace(entry, consent=answer) for entry, answer in zip(listing.entries, answers, strict=True)]
    answered = replace(listing, entries=tuple(entries))
    # As `MEANT` says, the second, fifth and eighth image are refused by `training_mining`.
    assert consented(answered, "count").refused == {"ann": 1, "bob": 3}
    strict = consented(answered, "leave-out", unstated=False)
    assert [entry.consent for entry in strict.listing.entries] == ["given", "contract-7", "", "given"]
    assert strict.refused == {"ann": 1, "bob": 3, "cy": 1}
    with pytest.raises(InputError, match=r"no `training_mining` that allows training and no `consent`"):
        consented(answered, "error", unstated=False)


@pytest.mark.parametrize(
    ("owners", "own", "rows", "meant"),
    [
        (("ann", "bob"), "", {"ann": "given", "bob": "given"}, "given"),
        (("ann", "bob"), "", {"ann": "given", "bob": "contract-7"}, "given; contract-7"),
        (("ann", "bob"), "", {"ann": "given"}, "unknown"),
        (("ann", "bob"), "", {"ann": "given", "bob": "refused"}, "refused"),
        (("ann:2;bob:1",), "", {"bob": "refused"}, "refused"),
        (("ann",), "unknown", {"ann": "given"}, "given"),
        (("ann",), "given", {"ann": "refused"}, "refused"),
        (("ann",), "refused", {"ann": "given"}, "refused"),
        (("ann",), "given", {"ann": "unknown"}, "given"),
        (("ann", "bob"), "contract-7", {"ann": "given"}, "contract-7"),
    ],
)
def test_one_refusal_is_a_refusal_and_everybody_consents(
    owners: tuple[str, ...], own: str, rows: dict[str, str], meant: str
) -> None:
    entry = Entry("row 2", owners, file_name="1.png", consent=own)
    stated = enumerate({"contributor": name, "consent": answer} for name, answer in rows.items())
    (registered,) = with_register(Path("consent.csv"), stated, [entry])
    assert registered.consent == meant


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["dee,,given,,"], "row 2: contributor 'dee' has no image in the metadata"),
        (["ann,none.png,given,,"], "row 2: contributor 'ann' has no image 'none.png' in the metadata"),
        (["ann,,given,,", "ann,,refused,,"], "row 3: 'ann' stands twice"),
        (["ann,,maybe,,"], "row 2: `consent` is"),
        (["ann,,given,soon,"], "row 2: `consent_date` is a day"),
    ],
)
def test_a_register_that_cannot_be_meant_is_an_error(folder: Path, rows: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_manifest(register(folder, *rows))


def test_misspelt_columns_of_consent_are_errors_and_other_words_are_not(folder: Path) -> None:
    with pytest.raises(InputError, match=r"consent\.csv, row 1: unknown column 'consents'; did you mean 'consent'"):
        read_manifest(register(folder, "ann,yes", head="contributor,consents"))
    (folder / "consent.csv").unlink()
    first = '"content": "x", "resource": "y", "file_name"'
    (folder / "metadata.jsonl").write_text((folder / "metadata.jsonl").read_text().replace('"file_name"', first))
    assert len(read_manifest(folder)) == 9


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("CC-BY-4.0", True),
        ("cc by-sa 4.0", True),
        ("OFL-1.1", True),
        ("GPL-2.0-or-later", True),
        ("LicenseRef-studio-2026", True),
        ("(MIT OR Apache-2.0)", True),
        ("CC-BY-5.0", False),
        ("MIT OR mine", False),
        ("all rights reserved", False),
        ("()", False),
    ],
)
def test_licenses_are_spdx_identifiers_or_said_to_be_none(name: str, known: bool) -> None:
    assert unrecognized(["", name]) == ([] if known else [name])


@pytest.mark.parametrize("written", ["maybe", "allowed;no", "2"])
def test_other_consent_is_an_error(written: str) -> None:
    with pytest.raises(InputError, match="row 2: `training_mining` is `allowed`, `notAllowed` or `constrained`"):
        training_mining("row 2", written)


@pytest.mark.parametrize(
    "written", ["ftp://example.org/a", "https://", "two words", "http://[::1", "javascript:alert(1)//"]
)
def test_other_terms_are_an_error(written: str) -> None:
    with pytest.raises(InputError, match="row 2: `license_terms` is an address"):
        license_terms("row 2", written)


@pytest.mark.parametrize("written", ["", TERMS, "RSL-1.0", "LicenseRef-studio-2026", "urn:isrc:1"])
def test_terms_are_an_address_or_an_identifier(written: str) -> None:
    assert license_terms("row 2", f" {written} ") == written


def test_a_misspelt_column_is_an_error(folder: Path) -> None:
    written = (folder / "metadata.jsonl").read_text()
    (folder / "metadata.jsonl").write_text(written.replace("training_mining", "training-mining"))
    with pytest.raises(InputError, match="unknown column 'training-mining'; did you mean 'training_mining'"):
        read_manifest(folder)
