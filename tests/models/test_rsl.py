"""RSL documents in a folder of images are read as `training_mining` of the images that name them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from royalty.models.base.errors import InputError
from royalty.models.data.columns import Columns, parquet_images
from royalty.models.data.consent import consented
from royalty.models.data.folder import read_manifest
from royalty.models.data.rsl import training_by_rsl
from tests.conftest import save_digits

NAMESPACE = 'xmlns="https://rslstandard.org/rsl"'


def document(path: Path, *licenses: str, head: str = "") -> Path:
    inner = "".join(f"<license>{license}</license>" for license in licenses)
    path.write_text(f'{head}<rsl {NAMESPACE}><content url="/*"><terms>all</terms>{inner}</content></rsl>')
    return path


def permits(usages: str, what: str = "permits", kind: str = "usage") -> str:
    return f'<{what} type="{kind}">{usages}</{what}>'


def prohibits(usages: str) -> str:
    return permits(usages, "prohibits")


@pytest.mark.parametrize(
    ("license", "meaning"),
    [
        (permits("all"), "allowed"),
        (permits("search ai-train"), "allowed"),
        (permits("search") + permits("ai-all"), "allowed"),
        ("", "allowed"),
        (prohibits("search"), "allowed"),
        (permits("search"), "notAllowed"),
        (permits("ai-input, ai-index"), "notAllowed"),
        (prohibits("ai-train"), "notAllowed"),
        (permits("all") + prohibits("ai-all"), "notAllowed"),
        (permits("all") + '<payment type="free"/>', "allowed"),
        (permits("all") + '<payment type="purchase"><amount>5</amount></payment>', "constrained"),
        (permits("all") + permits("non-commercial", kind="user"), "constrained"),
        (permits("search") + '<payment type="purchase"/>', "notAllowed"),
    ],
)
def test_a_license_allows_training_or_not(tmp_path: Path, license: str, meaning: str) -> None:
    assert training_by_rsl(document(tmp_path / "license.xml", license)) == meaning


def test_the_strictest_of_several_licenses_counts(tmp_path: Path) -> None:
    both = document(tmp_path / "license.xml", permits("search"), permits("all"))
    assert training_by_rsl(both) == "notAllowed"


ENTITY = '<!DOCTYPE rsl [<!ENTITY usage "ai-train">]>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{ENTITY}<rsl {NAMESPACE}/>", "document type, which can define entities"),
        (f"<rsl {NAMESPACE}><content>{permits('all')}</content></rsl>", "no <license> in a <content>"),
        ("<html/>", "its outermost element is <html>"),
        ('<rsl xmlns="https://example.org/other"/>', "of the namespace 'https://example.org/other'"),
        (f"<rsl {NAMESPACE}>", "it is not XML"),
        ("", "it is not XML"),
        (f"<rsl><content><license>{permits('all training')}</license></content></rsl>", "it has the usage 'training'"),
    ],
)
def test_other_documents_are_one_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "license.xml").write_text(text)
    with pytest.raises(InputError, match=message) as refused:
        training_by_rsl(tmp_path / "license.xml")
    assert "Correct it, or name the terms by an address" in str(refused.value)


def test_images_are_refused_by_the_document_that_they_name(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    owners = ["ann", "bob", "cy", "ann", "bob"]
    files = save_digits(folder, owners)
    document(folder / "open.xml", permits("ai-all"))
    document(folder / "closed.xml", prohibits("ai-train"))
    terms = ["open.xml", "closed.xml", "https://example.org/closed.xml", "open.xml", "closed.xml"]
    cells = ["", "", "", "not-allowed", "allowed"]
    rows = [
        {
            "file_name": str(file.relative_to(folder)),
            "contributor": owner,
            "label": str(len(owner) % 2),
            "license_terms": named,
            "training_mining": cell,
        }
        for file, owner, named, cell in zip(files, owners, terms, cells, strict=True)
    ]
    (folder / "metadata.csv").unlink()
    metadata = folder / "metadata.jsonl"
    metadata.write_text("\n".join(map(json.dumps, rows)))
    listing = read_manifest(folder)
    assert [entry.training_mining for entry in listing.entries] == ["allowed", "notAllowed", "", *["notAllowed"] * 2]
    assert [entry.license_terms for entry in listing.entries] == terms
    kept = consented(listing, "leave-out")
    assert [entry.license_terms for entry in kept.listing.entries] == ["open.xml", terms[2]]
    metadata.write_text("\n".join(json.dumps({**row, "license_terms": "missing.xml"}) for row in rows))
    with pytest.raises(InputError, match=r"there is no file 'missing.xml'"):
        read_manifest(folder)


@pytest.mark.parametrize("whole_folder", [False, True])
def test_terms_of_a_table_are_beside_it(tmp_path: Path, whole_folder: bool) -> None:
    document(tmp_path / "closed.xml", prohibits("ai-train"))
    image = io.BytesIO()
    Image.new("L", (4, 4)).save(image, "PNG")
    terms = ["closed.xml", "CC-BY-4.0", "closed.xml"]
    columns = {"image": [image.getvalue()] * 3, "contributor": ["ann", "bob", "cy"], "license_terms": terms}
    pq.write_table(pa.table(columns), tmp_path / "images.parquet")
    path = tmp_path if whole_folder else tmp_path / "images.parquet"
    listing = parquet_images(path, Columns())
    assert [entry.training_mining for entry in listing.entries] == ["notAllowed", "", "notAllowed"]
    before = listing.digest()
    document(tmp_path / "closed.xml", permits("all"))
    listing = parquet_images(path, Columns())
    assert [entry.training_mining for entry in listing.entries] == ["allowed", "", "allowed"]
    assert listing.digest() != before, "a change of the document is one of the images"
    (tmp_path / "closed.xml").unlink()
    with pytest.raises(InputError, match=r"row 0: there is no file 'closed.xml'"):
        parquet_images(path, Columns())
