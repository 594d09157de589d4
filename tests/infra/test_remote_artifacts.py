"""Artifacts in an S3-compatible store: whole or not at all, verified, and shared by homes."""

from __future__ import annotations

import shutil
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from royalty.infra.settings import Settings
from royalty.infra.stores import artifacts
from royalty.infra.stores.artifacts import ArtifactStore, ChangedArtifact, MissingArtifact, StoreError, open_artifacts
from royalty.infra.stores.keys import modules_run_by
from royalty.infra.workspace import check_home, check_place, open_workspace, place_of
from royalty.tasks.stages import context
from tests.conftest import LONG, SMALL, Run

GET = "get it by `pip install 'royalty[s3]' boto3 'moto[s3]'`"
pytest.importorskip("s3fs", reason=f"no s3fs; {GET}")
boto3: Any = pytest.importorskip("boto3", reason=f"no boto3; {GET}")
moto: Any = pytest.importorskip("moto.server", reason=f"no moto; {GET}")

ADDRESS = "s3://royalty/team"
MISSING = "a" * 64


@dataclass(frozen=True)
class Server:
    url: str
    client: Any

    def control(self, action: str, body: bytes = b"") -> None:
        """Ask moto, not S3, for something."""
        request = urllib.request.Request(f"{self.url}/moto-api/{action}", body, {"Content-Type": "text/plain"})
        urllib.request.urlopen(request).close()

    def names(self) -> list[str]:
        return [found["Key"] for found in self.client.list_objects_v2(Bucket="royalty").get("Contents", ())]

    def overwrite(self, digest: str, payload: bytes) -> None:
        self.client.put_object(Bucket="royalty", Key=f"team/{digest[:2]}/{digest}", Body=payload)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def server(address: str, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    server = Server(address, boto3.client("s3"))
    server.control("reset")
    server.client.create_bucket(Bucket="royalty")
    return server


@pytest.fixture
def store(server: Server, tmp_path: Path) -> ArtifactStore:
    return open_artifacts(tmp_path / "home", ADDRESS)


def test_payloads_are_stored_once_under_the_names_of_a_home_and_read_back(server: Server, store: ArtifactStore) -> None:
    digest = store.put(b"payload")
    assert store.put(b"payload") == digest == store.put_pieces([b"pay", b"load"])
    assert server.names() == [f"team/{digest[:2]}/{digest}"]
    assert store.get(digest) == b"payload"
    assert store.held([digest, MISSING]) == {digest}
    store.path(digest).unlink()
    assert store.verified(digest).read_bytes() == b"payload", "it is fetched again where the cache was deleted"


def test_what_was_read_once_is_read_from_the_cache(
    server: Server, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = store.put(b"payload")
    monkeypatch.setattr(store, "audited", lambda _: pytest.fail("it was fetched"))
    assert store.verified(digest) == store.path(digest)


def test_a_changed_cache_is_fetched_again_and_a_changed_object_is_an_error(
    server: Server, store: ArtifactStore
) -> None:
    digest = store.put(b"payload")
    store.path(digest).write_bytes(b"changed")
    assert store.get(digest) == b"payload"
    server.overwrite(digest, b"changed")
    assert store.get(digest) == b"payload", "of the cache, which is right"
    with pytest.raises(ChangedArtifact, match=f"{ADDRESS}/{digest[:2]}/{digest} has changed"):
        store.audited(digest)
    assert store.path(digest).read_bytes() == b"payload"
    store.path(digest).unlink()
    with pytest.raises(ChangedArtifact):
        store.get(digest)
    assert [path for path in store.root.rglob("*") if path.is_file()] == [], "nothing of it is kept"


def test_a_payload_is_sent_and_not_what_a_changed_cache_has(server: Server, store: ArtifactStore) -> None:
    digest = store.put(b"payload")
    store.path(digest).write_bytes(b"changed")
    server.client.delete_object(Bucket="royalty", Key=f"team/{digest[:2]}/{digest}")
    assert store.put(b"payload") == digest
    assert store.audited(digest).read_bytes() == b"payload"


def test_a_missing_object_is_one_line(store: ArtifactStore) -> None:
    with pytest.raises(MissingArtifact, match=f"artifact {MISSING} is not in {ADDRESS}; was part of the store deleted"):
        store.get(MISSING)
    assert not store.holds(MISSING)


def test_an_upload_that_is_cut_off_leaves_nothing_and_is_repeated(
    server: Server, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, parts = store._files, []  # type: ignore[attr-defined]
    real = type(files)._call_s3

    async def cut(self: Any, method: str, *arguments: Any, **keywords: Any) -> Any:
        if method == "upload_part":
            parts.append(keywords["PartNumber"])
            if len(parts) > 1:
                raise OSError(5, "the connection was cut")
        return await real(self, method, *arguments, **keywords)

    pieces = [bytes(2**20)] * 11
    files.max_concurrency = 1
    monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda size, chunksize=None: 5 * 2**20)
    monkeypatch.setattr(type(files), "_call_s3", cut)
    with pytest.raises(StoreError, match=r"cannot be used \(.*the connection was cut\)"):
        store.put_pieces(pieces)
    assert len(parts) > 1
    assert server.names() == []
    assert "Uploads" not in server.client.list_multipart_uploads(Bucket="royalty"), "nor are its parts kept"
    monkeypatch.setattr(type(files), "_call_s3", real)
    digest = store.put_pieces(pieces)
    assert server.names() == [f"team/{digest[:2]}/{digest}"]
    assert store.audited(digest).stat().st_size == 11 * 2**20


def test_two_homes_on_one_database_and_one_bucket_share_artifacts(server: Server, tmp_path: Path) -> None:
    first, second = (
        Settings(home=tmp_path / name, artifacts=ADDRESS, database_url=f"sqlite:///{tmp_path / 'shared.db'}")
        for name in ("first", "second")
    )
    check_place(second, place_of(first))
    digest = open_workspace(first).artifacts.put(b"a table")
    assert open_workspace(second).keeps([digest, MISSING]) == {digest}
    assert open_workspace(second).artifacts.get(digest) == b"a table"
    assert context.open_stores(*second.stores).artifacts.get(digest) == b"a table"
    with pytest.raises(StoreError, match="with its ROYALTY_ARTIFACTS or with its ROYALTY_HOME"):
        check_place(Settings(home=tmp_path / "second", database_url=first.database_url), place_of(first))


def test_a_store_that_cannot_be_used_is_refused_in_one_line_before_any_work(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal(home: str, address: str = ADDRESS) -> str:
        with pytest.raises(StoreError) as refused:
            check_home(Settings(home=tmp_path / home, artifacts=address))
        assert "\n" not in str(refused.value)
        return str(refused.value)

    check_home(Settings(home=tmp_path / "usable", artifacts=ADDRESS))
    assert "the bucket 'nobody', which does not exist at " + server.url in refusal("no bucket", "s3://nobody/team")
    server.control("reset-auth", b"0")  # from now on, only users that it knows may do anything
    try:
        assert "refuses this user" in refusal("no permission")
    finally:
        server.control("reset-auth", b"inf")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    assert "http://127.0.0.1:9 cannot be used" in refusal("no network")
    assert time.monotonic() - began < 20
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "check AWS_ACCESS_KEY_ID" in refusal("no key")


@pytest.mark.slow
@pytest.mark.timeout(LONG)
def test_a_second_home_finds_a_finished_run_in_the_store(server: Server, installed: Run, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    shared = {
        "ROYALTY_ARTIFACTS": ADDRESS,
        "ROYALTY_DATABASE_URL": f"sqlite:///{tmp_path / 'shared.db'}",
        "ROYALTY_MLFLOW_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
    }
    first = installed("run", "--config", "small.yaml", **shared)
    assert first.returncode == 0, first.stderr
    assert not (tmp_path / "home" / "artifacts").exists()
    cached = {path.name for path in (tmp_path / "home" / "cache" / "artifacts").glob("*/*")}
    assert {name.rpartition("/")[2] for name in server.names()} >= cached != set()
    shared["ROYALTY_HOME"] = str(tmp_path / "second")
    stranger = installed("run", "--config", "small.yaml", **shared)
    assert stranger.returncode == 1
    assert "If another home or machine that you trust wrote it, put its public key" in stranger.stderr
    shutil.copytree(tmp_path / "home" / "audit" / "keys", tmp_path / "second" / "audit" / "writers")
    second = installed("run", "--config", "small.yaml", **shared)
    assert second.returncode == 0, second.stderr
    assert "0 measured, 8 reused" in second.stdout


def test_keys_of_stages_do_not_depend_on_packages_of_the_store() -> None:
    assert find_spec(artifacts.REMOTE) is not None
    assert artifacts.REMOTE not in modules_run_by(context.__name__)
