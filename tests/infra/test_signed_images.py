"""The service signs images with their attribution, by the same log, keys and limits as it attributes them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from royalty.models.base.errors import InputError
from royalty.models.data.credentials import ATTRIBUTION, Identity, credentials_of
from royalty.tasks.attribution.credentials import RequestSigner
from tests.certificates import Issued, issued
from tests.infra.test_attribution_api import Service, pictured, request

c2pa: Any = pytest.importorskip("c2pa", reason="no c2pa-python; get it by `pip install 'royalty[c2pa]'`")


@pytest.fixture(scope="module")
def studio() -> Issued:
    return issued()


@pytest.fixture
def service(studio: Issued, tmp_path: Path) -> Service:
    pictured(tmp_path, "pixels@1x8")
    return Service(tmp_path, RequestSigner(Identity(studio.chain, studio.key)))


def made(format_: str = "PNG") -> bytes:
    pixels = np.random.default_rng(5).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(file := io.BytesIO(), format_)
    return file.getvalue()


def generated(identity: str, payload: bytes, **fields: Any) -> dict[str, Any]:
    image = base64.b64encode(payload).decode()
    return request(identity, model="pictures", embedding=None, encoder=None, image=image, **fields)


def rounded(answer: Any) -> Any:
    """An answer without the last digits of its numbers, which manifests do not keep."""
    return json.loads(json.dumps(answer), parse_float=lambda number: round(float(number), 12))


def ingredients_of(payload: bytes) -> set[str]:
    with c2pa.Reader.try_create(None, io.BytesIO(payload)) as reader:
        return {ingredient["title"] for ingredient in reader.get_active_manifest()["ingredients"]}


def test_an_image_is_returned_with_the_attribution_that_was_logged(service: Service, studio: Issued) -> None:
    client = service.with_key("signer", "sign", "attribute", "read")
    answer = client.post("/v1/signed-images", json=generated("order-17", made()))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "image/png"
    read = credentials_of(answer.content, anchors=studio.authority.decode())
    assert read is not None
    assert (read.state, read.problems) == ("trusted", ())
    logged = client.get(f"/v1/attributions/{answer.headers['Attribution']}").json()
    stated = {name: value for name, value in logged.items() if name != "id" and value is not None}
    assert rounded(read.assertions[ATTRIBUTION]) == rounded(stated)
    assert b"order-17" not in answer.content
    assert ingredients_of(answer.content) == {"pictures 1", "an a"}
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(answer.content))), np.asarray(Image.open(io.BytesIO(made())))
    )
    again = client.post("/v1/signed-images", json=generated("order-17", made()))
    assert (again.headers["Idempotent-Replayed"], again.headers["Attribution"]) == ("true", logged["attribution"])
    signed_again = credentials_of(again.content)
    assert signed_again is not None
    assert rounded(signed_again.assertions[ATTRIBUTION]) == rounded(stated)
    assert client.post("/v1/attributions", json=generated("order-17", made())).json() == logged
    assert client.post("/v1/signed-images", json=generated("order-17", made(), prompt="other")).status_code == 409
    assert service.log.count() == 1
    assert 'royalty_attributions_total{model="pictures",outcome=' in service.client.get("/metrics").text


def test_what_cannot_be_signed_is_refused_and_not_logged(service: Service, tmp_path: Path) -> None:
    signer = service.with_key("signer", "sign")
    for fields, status, detail in (
        (generated("a", made("BMP")), 400, "PNG, JPEG, WEBP, TIFF, GIF files, and the image is BMP"),
        (generated("a", b"no image"), 400, "cannot be read as an image"),
        (request("a", model="pictures", embedding=[0.5] * 64, encoder="pixels@1x8"), 400, "has an `embedding`"),
        (generated("a", made()) | {"model": "none"}, 404, "no index of the model 'none'"),
        (generated("a", bytes(100_000)), 413, "at most 100,000 bytes"),
    ):
        answer = signer.post("/v1/signed-images", json=fields)
        assert answer.status_code == status, answer.text
        assert detail in answer.json()["detail"]
    refused = service.client.post("/v1/signed-images", json=generated("a", made()))
    assert refused.status_code == 403
    assert "needs a key with the scope `sign`" in refused.json()["detail"]
    assert signer.post("/v1/attributions", json=generated("a", made())).status_code == 403
    assert service.log.count() == 0


def test_a_service_without_a_key_says_so(tmp_path: Path) -> None:
    pictured(tmp_path, "pixels@1x8")
    service = Service(tmp_path)
    answer = service.with_key("signer", "sign").post("/v1/signed-images", json=generated("a", made()))
    assert answer.status_code == 404
    assert "start it with `--key` and `--certificate`" in answer.json()["detail"]
    assert service.log.count() == 0


def test_a_key_that_cannot_sign_is_found_before_anything_is_served(studio: Issued, tmp_path: Path) -> None:
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    chain.write_bytes(studio.chain)
    with pytest.raises(InputError, match="cannot read the key"):
        RequestSigner.open(key, chain)
    key.write_bytes(issued().key)
    with pytest.raises(InputError, match="these cannot sign"):
        RequestSigner.open(key, chain)
    key.write_bytes(studio.key)
    assert RequestSigner.open(key, chain).identity == Identity(studio.chain, studio.key)
