"""The attribution service over HTTP: answers, ids, keys, limits, bad input and metrics."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import struct
import zlib
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from royalty.infra.attribution.api import AttributionRequest, Sign, create_app, recorded
from royalty.infra.attribution.keys import KeyFile, RateLimit
from royalty.infra.attribution.shards import ShardStore
from royalty.infra.attribution.usage_log import UsageLog
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.stores.weights import WeightsStore
from royalty.tasks.attribution import index
from royalty.tasks.attribution.attributing import Attributor, index_folder, served_folders
from royalty.tasks.attribution.description import Description, code_of
from tests.indexed import built, description, features_of, table_of

ADDRESS = "http://127.0.0.1:8750"


class Service:
    """A service on an index of features, and clients of it."""

    def __init__(self, home: Path, sign: Sign | None = None) -> None:
        self.store = ShardStore(index_folder(home, "letters", "1"))
        self.log = UsageLog(home / "attribution" / "log.db")
        self.keys = KeyFile(home / "attribution" / "keys.json")
        self.attributor = Attributor(served_folders(home), WeightsStore(home / "weights"))
        self.attributor.open_all()
        self.time = 0.0
        self.app = create_app(
            self.attributor,
            self.log,
            self.keys,
            hosts=["127.0.0.1:8750"],
            sizes=self.attributor.sizes,
            most=100_000,
            limit=RateLimit(lambda: self.time),
            sign=sign,
        )
        self.client = self.with_key("studio", "attribute", "read", "metrics")

    def with_key(self, name: str, *scopes: Any, rate: float = 100, burst: int = 1_000) -> TestClient:
        secret = self.keys.add(name, scopes, rate=rate, burst=burst)
        return TestClient(self.app, ADDRESS, headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("indexed")
    built(home)
    return home


@pytest.fixture
def service(indexed: Path, tmp_path: Path) -> Service:
    shutil.copytree(indexed, tmp_path, dirs_exist_ok=True)
    return Service(tmp_path)


def request(identity: str, seed: int = 7, **fields: Any) -> dict[str, Any]:
    known = {
        "id": identity,
        "model": "letters",
        "time": "2026-05-03T14:00:00+02:00",
        "prompt": "an a",
        "seed": 3,
        "embedding": features_of(1, seed)[0].tolist(),
        "encoder": "features",
    }
    return {name: value for name, value in {**known, **fields}.items() if value is not None}


def test_who_stands_behind_an_image(service: Service) -> None:
    answer = service.client.post("/v1/attributions", json=request("one"))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["attributable"]
    assert sum(found["contributors"].values()) == pytest.approx(1, abs=1e-12)
    assert list(found["contributors"].values()) == sorted(found["contributors"].values(), reverse=True)
    assert sum(item["share"] for item in found["items"]) + found["others"] == pytest.approx(1)
    units = features_of(300) / np.linalg.norm(features_of(300), axis=1, keepdims=True)
    query = features_of(1, 7)[0]
    nearest = int(np.argmax(units @ query))
    first = found["items"][0]
    assert first["id"] == f"{nearest:064x}"
    apart = np.linalg.norm(units[nearest] - query / np.linalg.norm(query))
    assert first["distance"] == found["nearest"] == pytest.approx(apart, abs=1e-3)
    assert first["contributors"] == (["Ada"], ["Bob"], ["Cyd", "Ada"])[nearest % 3]
    assert first["license"] == ("CC0-1.0", "")[nearest % 2]
    assert first["file_name"] == f"{nearest}.png"
    assert first.get("author") == ("Ann", None)[nearest % 2]
    assert "consent" not in first, "what the source does not state is left out"
    again = service.client.get(f"/v1/attributions/{found['attribution']}")
    assert again.json() == found


def test_an_image_that_is_far_from_all_is_attributed_to_nobody(service: Service) -> None:
    far = -np.mean(features_of(300), axis=0) * 5
    usual = service.client.post("/v1/attributions", json=request("near", embedding=features_of(300)[0].tolist())).json()
    assert usual["attributable"]
    assert usual["nearest"] == 0
    assert usual["memorization_p_value"] == 1 / 301  # a copy of a training image
    about = Description.of(service.store.manifest())
    found = service.client.post("/v1/attributions", json=request("far", embedding=far.tolist())).json()
    assert found["nearest"] > max(about.nearest) or found["attributable"]
    service.attributor._opened["letters", "1"][1].far = 0.0
    found = service.client.post("/v1/attributions", json=request("farther")).json()
    assert not found["attributable"]
    assert found["contributors"] == {}
    assert found["items"] == []


def test_an_id_stands_for_one_request(service: Service) -> None:
    first = service.client.post("/v1/attributions", json=request("one"))
    again = service.client.post("/v1/attributions", json=request("one"))
    assert first.headers["Idempotent-Replayed"] == "false"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.content == first.content
    later = service.client.post("/v1/attributions", json=request("one", time="2026-05-03T12:00:00Z"))
    assert later.content == first.content or later.status_code == 409  # the same time, written otherwise
    other = service.client.post("/v1/attributions", json=request("one", prompt="a b"))
    assert other.status_code == 409
    assert "'one' was attributed on other data" in other.json()["detail"]
    assert service.log.count() == 1


def test_many_at_once_with_one_id_are_one(service: Service) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: service.client.post("/v1/attributions", json=request("one")), range(16)))
    assert len({answer.content for answer in answers}) == 1
    assert service.log.count() == 1


def test_batch_and_stream_give_the_same_to_the_last_digit(service: Service) -> None:
    requests = [AttributionRequest.model_validate(request(str(number), number)) for number in range(40)]
    batch = {asked.id: service.attributor(asked) for asked in reversed(requests)}
    with ThreadPoolExecutor(4) as pool:
        stream = list(
            pool.map(
                lambda number: service.client.post("/v1/attributions", json=request(str(number), number)), range(40)
            )
        )
    for answer in stream:
        found = answer.json()
        expected = json.loads(batch[found["id"]].model_dump_json(exclude={"attribution"}, exclude_none=True))
        found = {name: value for name, value in found.items() if name != "attribution" and value is not None}
        assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


def test_an_index_that_changes_is_searched_anew(service: Service) -> None:
    found = service.client.post("/v1/attributions", json=request("before")).json()
    index.remove(service.store, ids=[found["items"][0]["id"]])
    after = service.client.post("/v1/attributions", json=request("after")).json()
    assert after["items"][0]["id"] == found["items"][1]["id"]
    assert after["index"] != found["index"]
    assert service.client.post("/v1/attributions", json=request("before")).json() == found  # what was answered stands


@pytest.mark.parametrize(
    ("fields", "status", "detail"),
    [
        ({"model": "none"}, 404, "no index of the model 'none', version '1', is served; there are: letters 1"),
        ({"version": "2"}, 404, "version '2', is served"),
        ({"encoder": "clip"}, 400, "index of letters is by 'features', and this embedding is by 'clip'"),
        ({"embedding": [1.0, 2.0]}, 400, "dimensions of the items, 16; got shape (2,)"),
        ({"embedding": [0.0] * 16}, 400, "length 0"),
        ({"embedding": None, "encoder": None}, 400, "give an `image` or an `embedding`"),
        ({"image": "aaaa"}, 400, "and not both"),
        ({"embedding": None, "encoder": None, "image": "aaaa"}, 400, "has features and no encoder"),
        ({"time": "2026-05-03T14:00:00"}, 400, "`time`"),
        ({"time": "0001-01-01T00:00:00+01:00"}, 400, "`time`"),
        ({"id": ""}, 400, "`id`"),
        ({"revenue": "-1"}, 400, "`revenue`"),
        ({"extra": 1}, 400, "`extra`"),
    ],
)
def test_bad_input_is_one_error_and_is_not_logged(
    service: Service, fields: dict[str, Any], status: int, detail: str
) -> None:
    answer = service.client.post("/v1/attributions", json=request("one", **fields))
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert service.log.count() == 0


def pictured(home: Path, encoder_key: str) -> ShardStore:
    """An index of pictures of 8 by 8 pixels in greyscale."""
    store = ShardStore(index_folder(home, "pictures", "1"))
    store.folder.mkdir(parents=True)
    about = description(
        model="pictures", encoder="pixels", shape=(1, 8, 8), encoder_key=encoder_key, code=code_of("pixels")
    )
    pixels = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), np.uint8)
    index.build(store, pixels.reshape(30, 64) / 255, table_of(30), about, images=pixels)
    return store


def large() -> bytes:
    """A PNG that states 100 megapixels in its head."""
    Image.new("L", (8, 8)).save(file := io.BytesIO(), "PNG")
    head = b"IHDR" + struct.pack(">II", 10_000, 10_000) + file.getvalue()[24:29]
    return file.getvalue()[:12] + head + struct.pack(">I", zlib.crc32(head)) + file.getvalue()[33:]


@pytest.mark.parametrize(
    ("image", "detail"),
    [
        ("no base64!", "`image` is the base64 of an image file, and this is none"),
        ("", "is an empty file"),
        (base64.b64encode(b"no image").decode(), "cannot be read as an image"),
        (base64.b64encode(large()).decode(), "unpacks to more than 64,000,000 pixels"),
    ],
)
def test_bad_images_are_one_error_and_are_not_logged(tmp_path: Path, image: str, detail: str) -> None:
    pictured(tmp_path, "pixels@1x8")
    service = Service(tmp_path)
    asked = request("one", model="pictures", embedding=None, encoder=None, image=image)
    answer = service.client.post("/v1/attributions", json=asked)
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]
    assert service.log.count() == 0


def test_an_index_by_other_weights_is_refused_by_name(tmp_path: Path) -> None:
    pictured(tmp_path, "pixels@1x9")
    with pytest.raises(StoreError, match=r"built it, pixels@1x9, and the installed one is pixels@1x8: its weights or"):
        Service(tmp_path)


def test_infinite_and_broken_json(service: Service) -> None:
    for content in (b"{", b"[1, 2", json.dumps(request("one", embedding=[float("inf")] * 16)).encode()):
        answer = service.client.post("/v1/attributions", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, content
    assert service.log.count() == 0


def test_keys_and_scopes(service: Service) -> None:
    anonymous = TestClient(service.app, ADDRESS)
    assert anonymous.post("/v1/attributions", json=request("one")).status_code == 401
    assert anonymous.get("/v1/totals", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert anonymous.get("/health").json() == {"status": "ok"}
    reader = service.with_key("reader", "read")
    refused = reader.post("/v1/attributions", json=request("one"))
    assert refused.status_code == 403
    assert "needs a key with the scope `attribute`" in refused.json()["detail"]
    assert reader.get("/metrics").status_code == 403
    assert reader.get("/v1/totals").json() == []
    assert "Bearer" not in service.keys.file.read_text()
    service.keys.revoke("reader")
    assert reader.get("/v1/totals").status_code == 401
    with pytest.raises(StoreError, match="one key, and 'studio' has one"):
        service.keys.add("studio", ["read"], rate=1, burst=1)
    with pytest.raises(StoreError, match="no client 'reader' has a key; clients with keys: studio"):
        service.keys.revoke("reader")


def test_a_key_has_a_rate(service: Service) -> None:
    slow = service.with_key("slow", "read", rate=0.5, burst=2)
    assert [slow.get("/v1/totals").status_code for _ in range(3)] == [200, 200, 429]
    refused = slow.get("/v1/totals")
    assert refused.headers["Retry-After"] == "2"
    assert service.client.get("/v1/totals").status_code == 200  # others are not slowed
    service.time += 2.0
    assert [slow.get("/v1/totals").status_code for _ in range(2)] == [200, 429]


def test_long_bodies_and_other_hosts_are_refused(service: Service) -> None:
    long = service.client.post("/v1/attributions", json=request("one", prompt="x" * 100_000))
    assert long.status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 10_000

    assert service.client.post("/v1/attributions", content=pieces()).status_code == 413
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert service.client.get("/v1/totals", headers=headers).status_code == 403


def asked(service: Service, headers: dict[str, str], pieces: list[bytes]) -> tuple[int, int]:
    """Status of a POST whose body arrives in pieces, and how many of them were read."""
    remaining, statuses = list(pieces), list[int]()

    async def receive() -> dict[str, Any]:
        piece = remaining.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(remaining)}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    known = {"host": "127.0.0.1:8750", "content-type": "application/json", **headers}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/attributions", "raw_path": b"/v1/attributions", "root_path": "", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in known.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8750),
    }  # fmt: skip

    async def exchange() -> None:
        await service.app(scope, receive, send)

    asyncio.run(exchange())
    (status,) = statuses
    return status, len(pieces) - len(remaining)


def test_nothing_of_a_body_is_read_before_its_length_and_its_key_are_checked(service: Service) -> None:
    key = {"authorization": service.client.headers["Authorization"]}
    reader = {"authorization": service.with_key("reader", "read").headers["Authorization"]}
    idle = {"authorization": service.with_key("idle", "attribute", rate=0.1, burst=1).headers["Authorization"]}
    body = json.dumps(request("one")).encode()
    assert asked(service, key, [body]) == (200, 1)
    assert asked(service, {}, [body]) == (401, 0)
    assert asked(service, {"authorization": "Bearer wrong"}, [body]) == (401, 0)
    assert asked(service, reader, [body]) == (403, 0)
    assert asked(service, idle, [body]) == (200, 1)
    assert asked(service, idle, [body]) == (429, 0)
    assert asked(service, {**key, "content-length": "100001"}, [body]) == (413, 0)
    assert asked(service, {**key, "content-length": "-1"}, [body]) == (413, 0)
    assert asked(service, key, [b"x" * 30_000] * 20) == (413, 4)  # the fourth exceeds the limit
    assert asked(service, {**key, "content-length": "5"}, [b"x" * 60_000] * 3) == (413, 2)


def test_totals_of_other_clients_need_the_scope_audit(service: Service) -> None:
    other = service.with_key("other", "attribute", "read")
    auditor = service.with_key("auditor", "audit")
    logged = service.client.post("/v1/attributions", json=request("one", prompt="a secret")).json()
    other.post("/v1/attributions", json=request("two", prompt="an a"))
    assert [row["group"] for row in other.get("/v1/totals?by=prompt").json()] == ["an a"]
    assert [row["group"] for row in other.get("/v1/totals?by=client").json()] == ["other"]
    assert {row["group"] for row in auditor.get("/v1/totals?by=client").json()} == {"studio", "other"}
    assert {row["group"] for row in auditor.get("/v1/totals?by=prompt").json()} == {"a secret", "an a"}
    address = f"/v1/attributions/{logged['attribution']}"
    assert other.get(address).status_code == 404
    assert auditor.get(address).json() == logged
    assert auditor.post("/v1/attributions", json=request("three")).status_code == 403


def test_totals(service: Service) -> None:
    answers = [
        service.client.post("/v1/attributions", json=request(str(number), number, time=f"2026-0{month}-01T00:00:00Z"))
        for number, month in enumerate((5, 5, 6))
    ]
    found = service.client.get("/v1/totals", params={"by": "contributor"}).json()
    assert [row["share"] for row in found] == sorted((row["share"] for row in found), reverse=True)
    for row in found:
        assert row["share"] == pytest.approx(
            sum(answer.json()["contributors"].get(row["group"], 0) for answer in answers)
        )
    may = service.client.get("/v1/totals", params={"by": "period", "to": "2026-06-01"}).json()
    assert may == [{"group": "2026-05", "generations": 2, "share": pytest.approx(2)}]
    assert service.client.get("/v1/totals", params={"by": "model"}).json()[0]["group"] == "letters 1"
    assert service.client.get("/v1/totals", params={"from": "May"}).status_code == 400
    assert service.client.get("/v1/attributions/none").status_code == 404


def test_metrics_and_openapi(service: Service) -> None:
    service.client.post("/v1/attributions", json=request("one"))
    service.client.post("/v1/attributions", json=request("one"))
    service.client.post("/v1/attributions", json=request("two", model="none"))
    text = service.client.get("/metrics").text
    assert 'royalty_requests_total{route="/v1/attributions",status="200"} 2.0' in text
    assert 'royalty_requests_total{route="/v1/attributions",status="404"} 1.0' in text
    assert 'royalty_attributions_total{model="letters",outcome="attributed"} 1.0' in text
    assert 'royalty_index_items{model="letters",version="1"} 300.0' in text
    assert 'royalty_request_seconds_count{route="/v1/attributions"} 3.0' in text
    document = service.client.get("/openapi.json").json()
    assert set(document["paths"]) >= {"/v1/attributions", "/v1/attributions/{attribution}", "/v1/totals", "/metrics"}
    assert "409" in document["paths"]["/v1/attributions"]["post"]["responses"]
    assert (
        document["components"]["securitySchemes"]["HTTPBearer"].items() >= {"type": "http", "scheme": "bearer"}.items()
    )
    assert document["paths"]["/v1/attributions"]["post"]["security"] == [{"HTTPBearer": []}]
    assert "security" not in document["paths"]["/health"]["get"]


def test_nothing_is_answered_that_is_not_in_the_log(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StoreError("cannot write the log: disk full")

    monkeypatch.setattr(service.log, "append", full)
    answer = service.client.post("/v1/attributions", json=request("one"))
    assert answer.status_code == 503
    assert "disk full" in answer.json()["detail"]


def test_a_request_is_logged_as_it_was_asked(service: Service) -> None:
    asked = AttributionRequest.model_validate(request("one", revenue="0.050"))
    logged, replayed = recorded(service.log, "batch", asked, service.attributor)
    assert not replayed
    assert (logged.at, logged.revenue, logged.prompt) == ("2026-05-03T12:00:00+00:00", "0.050", "an a")
    assert logged.shares == logged.answer["contributors"]
    assert datetime.fromisoformat(logged.at).tzinfo == UTC
