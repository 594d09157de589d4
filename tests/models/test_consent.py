"""What contributors consent to decides what trains: counted, left out or refused, by contributor."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from royalty.models.base.errors import InputError
from royalty.models.data.consent import consented, consents, license_terms, training_mining
from royalty.models.data.folder import read_manifest
from royalty.models.data.licenses import licensed
from royalty.models.data.listing import Listing
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
