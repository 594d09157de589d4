"""Content Credentials: what is signed is read back, what was changed is tampered, and refusals of training count."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from royalty.models.base.errors import InputError
from royalty.models.data.credentials import ATTRIBUTION, GENERATED, Identity, credentials_of, signed
from royalty.models.data.folder import read_manifest
from royalty.models.data.refusals import Credentialed, Refusing, credentialed
from tests.certificates import Issued, issued

c2pa: Any = pytest.importorskip("c2pa", reason="no c2pa-python; get it by `pip install 'royalty[c2pa]'`")

ANSWER = {"contributors": {"Ada": 0.75, "Bob": 0.25}, "model": "letters", "items": [{"id": "a" * 64, "share": 0.75}]}


@pytest.fixture(scope="module")
def studio() -> Issued:
    return issued()


def picture(seed: int = 0, format_: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(file := io.BytesIO(), format_)
    return file.getvalue()


def attributed(studio: Issued, payload: bytes) -> bytes:
    identity = Identity(studio.chain, studio.key)
    return signed(payload, ANSWER, identity, title="made.png", generator="1.0", made_from=["letters 1", "a bold a"])


def authored(studio: Issued, payload: bytes, *assertions: dict[str, Any]) -> bytes:
    """An image as its author signs it."""
    created = {"action": "c2pa.created", "digitalSourceType": GENERATED}
    manifest = {
        "title": "a work",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}, *assertions],
    }
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ED25519, studio.chain, studio.key, None))
    with c2pa.Builder(json.dumps(manifest)) as builder:
        builder.sign(signer, "image/png", io.BytesIO(payload), result := io.BytesIO())
    return result.getvalue()


def author(name: str) -> dict[str, Any]:
    data = {"@context": "https://schema.org", "@type": "CreativeWork", "author": [{"@type": "Person", "name": name}]}
    return {"label": "stds.schema-org.CreativeWork", "data": data}


def mining(use: str, label: str = "cawg.training-mining", of: str = "cawg.ai_generative_training") -> dict[str, Any]:
    return {"label": label, "data": {"entries": {of: {"use": use}}}}


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_an_attribution_is_signed_into_an_image_and_read_back(studio: Issued, format_: str) -> None:
    payload = picture(format_=format_)
    assert credentials_of(payload) is None
    written = attributed(studio, payload)
    read = credentials_of(written)
    assert read is not None
    assert (read.state, read.problems, read.signer, read.creators) == ("valid", (), "Studio Ltd", ())
    assert read.assertions[ATTRIBUTION] == ANSWER
    assert not read.refuses_training
    (action,) = read.assertions["c2pa.actions.v2"]["actions"]
    assert action["digitalSourceType"] == GENERATED
    assert len(action["parameters"]["ingredients"]) == 2
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(written))), np.asarray(Image.open(io.BytesIO(payload)))
    )
    trusted = credentials_of(written, anchors=studio.authority.decode())
    assert trusted is not None
    assert trusted.state == "trusted"
    other = credentials_of(written, anchors=issued().authority.decode())
    assert other is not None
    assert other.state == "valid"


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_keys_on_curves_sign_too(curve: ec.EllipticCurve) -> None:
    read = credentials_of(attributed(issued(curve=curve), picture()))
    assert read is not None
    assert read.state == "valid"


def test_what_was_changed_is_tampered(studio: Issued) -> None:
    written = attributed(studio, picture())
    changed_claim = written.replace(b"Ada", b"Eve")
    assert changed_claim != written
    body = bytearray(written)
    body[written.index(b"IDAT") + 40] ^= 1
    for changed in (changed_claim, bytes(body)):
        read = credentials_of(changed)
        assert read is not None
        assert read.state == "tampered"
        assert any("mismatch" in problem.casefold() for problem in read.problems), read.problems
    cut = credentials_of(written[: written.index(b"c2pa") + 200])
    assert cut is not None
    assert cut.state == "tampered"


@pytest.mark.parametrize(
    ("assertion", "refuses"),
    [
        (mining("notAllowed"), True),
        (mining("constrained"), True),
        (mining("allowed"), False),
        (mining("notAllowed", of="cawg.ai_training"), True),
        (mining("notAllowed", of="cawg.data_mining"), False),
        (mining("notAllowed", "c2pa.training-mining", "c2pa.ai_generative_training"), True),
    ],
)
def test_refusals_of_training(studio: Issued, assertion: dict[str, Any], refuses: bool) -> None:
    read = credentials_of(authored(studio, picture(), author("Ada"), assertion))
    assert read is not None
    assert (read.state, read.refuses_training, read.creators) == ("valid", refuses, ("Ada",))


@pytest.fixture
def folder(studio: Issued, tmp_path: Path) -> Path:
    """Images of three contributors: one refuses, one refused image was changed since, and one names its author."""
    files = [
        picture(0),
        authored(studio, picture(1), author("A. Lovelace")),
        authored(studio, picture(2), mining("notAllowed")),
        authored(studio, picture(3), author("Mallory"), mining("notAllowed")).replace(b"Mallory", b"Trent.."),
        picture(4),
    ]
    rows = ["file_name,contributor,label"]
    for number, payload in enumerate(files):
        (tmp_path / f"{number}.png").write_bytes(payload)
        rows.append(f"{number}.png,{('Ada', 'Ada', 'Bob', 'Cyd', 'Ada;Cyd')[number]},a")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    return tmp_path


def read(folder: Path, refusing: Refusing) -> Credentialed:
    return credentialed(read_manifest(folder, labels=False), refusing)


def test_images_that_refuse_training_are_counted_left_out_or_an_error(folder: Path) -> None:
    ignored = read(folder, "ignore")
    assert ignored == Credentialed(read_manifest(folder, labels=False))
    counted = read(folder, "count")
    assert (len(counted.listing), counted.manifests, counted.refused) == (5, 3, {"Bob": 1, "Cyd": 1})
    assert counted.without == ()
    assert [entry.creator for entry in counted.listing.entries] == ["", "A. Lovelace", "", "", ""]
    assert counted.listing.described()["creator"][1] == "A. Lovelace"
    assert counted.listing.digest() != ignored.listing.digest()
    (tampered,) = counted.tampered
    assert "3.png" in tampered
    left = read(folder, "leave-out")
    assert [entry.file_name for entry in left.listing.entries] == ["0.png", "1.png", "4.png"]
    assert (left.refused, left.without) == ({"Bob": 1, "Cyd": 1}, ("Bob",))
    with pytest.raises(InputError, match=r"2 of 5 images have .* that refuse training, such as .*2\.png"):
        read(folder, "error")
    (folder / "metadata.csv").write_text("file_name,contributor,label\n2.png,Bob,a\n3.png,Cyd,a\n")
    with pytest.raises(InputError, match="no image is left"):
        read(folder, "leave-out")


def test_what_cannot_sign_or_be_signed_is_one_error(studio: Issued) -> None:
    with pytest.raises(InputError, match=r"made\.png cannot be read as an image"):
        attributed(studio, b"no image")
    with pytest.raises(InputError, match=r"into PNG, JPEG, WEBP, TIFF, GIF files, and made.png is BMP"):
        attributed(studio, picture(format_="BMP"))
    for key in (b"", b"no key", studio.chain):
        with pytest.raises(InputError, match="a private key in PEM without a password"):
            attributed(studio._replace(key=key), picture())
    with pytest.raises(InputError, match=r"and these cannot sign: .*certificate"):
        attributed(studio._replace(chain=b"no certificate"), picture())
    with pytest.raises(InputError, match="self-signed"):
        attributed(studio._replace(chain=studio.authority), picture())
    with pytest.raises(InputError, match="these cannot sign"):
        attributed(studio._replace(key=issued().key), picture())


def test_without_the_package_only_images_with_a_manifest_are_an_error(
    studio: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = attributed(studio, picture())
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    assert credentials_of(picture()) is None
    with pytest.raises(InputError, match=r"c2pa-python, which is not installed; `pip install 'royalty\[c2pa\]'`"):
        credentials_of(written)
