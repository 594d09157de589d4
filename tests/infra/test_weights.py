"""Weights: fetched whole or not at all, verified, and never without being asked for."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from royalty.flows.cli.app import app
from royalty.flows.mistakes import user_can_fix
from royalty.infra.settings import settings
from royalty.infra.stores.weights import SOURCES, WeightsError, WeightsFile, WeightsSource, WeightsStore

PAYLOAD = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; a path that starts with `cut` promises more than it sends."""

    def log_message(self, *_: object) -> None:
        pass

    def end_headers(self) -> None:
        if Path(self.path).name.startswith("cut"):
            self.send_header("Content-Length", str(10 * len(PAYLOAD)))
        super().end_headers()

    def send_header(self, keyword: str, value: str) -> None:
        if not (keyword == "Content-Length" and Path(self.path).name.startswith("cut") and int(value) == len(PAYLOAD)):
            super().send_header(keyword, value)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """The address of a server with a file, one that is cut off, and an archive."""
    folder = tmp_path / "hub"
    folder.mkdir()
    for name in ("net.pth", "cut.pth", "no.zip"):
        (folder / name).write_bytes(PAYLOAD)
    with zipfile.ZipFile(folder / "net.zip", "w") as archive:
        archive.writestr("base.pth", PAYLOAD)
        archive.writestr("lora/adapter_config.json", "{}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def store_of(tmp_path: Path, **files: tuple[WeightsFile, ...]) -> WeightsStore:
    return WeightsStore(
        tmp_path / "weights", {name: WeightsSource("test", "MIT", each) for name, each in files.items()}
    )


def test_fetched_recorded_and_verified_from_then_on(tmp_path: Path, hub: str) -> None:
    store = store_of(tmp_path, net=(WeightsFile("a/model.pth", f"{hub}/net.pth"), WeightsFile("b", f"{hub}/net.pth")))
    assert [(row.present, row.megabytes) for row in store.rows()] == [(False, None)]
    received: list[int] = []
    folder = store.fetch("net", progress=received.append)
    assert (folder / "a/model.pth").read_bytes() == PAYLOAD
    assert sum(received) == 2 * len(PAYLOAD)
    entry = {"bytes": len(PAYLOAD), "sha256": DIGEST}
    assert json.loads((folder / "weights.json").read_text())["files"] == {"a/model.pth": entry, "b": entry}
    assert store.rows()[0].present
    assert store.rows()[0].megabytes == pytest.approx(2 * len(PAYLOAD) / 1e6)
    assert store.fetch("net", progress=received.append) == store.locate("net") == folder
    assert len(received) == sum(received) // len(PAYLOAD) * -(-len(PAYLOAD) // 2**20)  # nothing came twice
    (folder / "b").write_bytes(PAYLOAD[:-1] + b"!")
    for use in (store_of(tmp_path, net=()).locate, store_of(tmp_path, net=()).fetch):
        with pytest.raises(WeightsError, match=r"b has changed since.*royalty weights fetch net"):
            use("net")
    (folder / "weights.json").write_text("{")
    with pytest.raises(WeightsError, match="damaged"):
        store_of(tmp_path, net=()).locate("net")


def test_an_archive_is_unpacked(tmp_path: Path, hub: str) -> None:
    folder = store_of(tmp_path, net=(WeightsFile("net.zip", f"{hub}/net.zip"),)).fetch("net")
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "adapter_config.json",
        "base.pth",
        "weights.json",
    ]


@pytest.mark.parametrize(
    ("path", "sha256", "says"),
    [
        ("net.pth", "00000000", f"SHA-256 00000000 that its publisher states, got {DIGEST}"),
        ("cut.pth", "", "ended after 1280000 of 12800000 bytes"),
        ("none.pth", "", "none.pth could not be downloaded: File not found"),
        ("no.zip", "", "not a ZIP archive"),
    ],
)
def test_what_is_wrong_is_not_kept(tmp_path: Path, hub: str, path: str, sha256: str, says: str) -> None:
    good = WeightsFile("good.pth", f"{hub}/net.pth", DIGEST[:8])
    store = store_of(tmp_path, net=(good, WeightsFile(path, f"{hub}/{path}", sha256)))
    with pytest.raises(WeightsError, match=says) as caught:
        store.fetch("net")
    assert user_can_fix(caught.value)
    assert list((tmp_path / "weights").iterdir()) == []


def test_without_a_network_one_line_says_so(tmp_path: Path) -> None:
    store = store_of(tmp_path, net=(WeightsFile("model.pth", "http://127.0.0.1:9/net.pth"),))
    with pytest.raises(WeightsError, match=r"could not be downloaded: .*refused.*copy the folder here") as caught:
        store.fetch("net")
    assert "\n" not in str(caught.value)


def test_missing_and_unknown_names(tmp_path: Path) -> None:
    store = WeightsStore(tmp_path)
    with pytest.raises(WeightsError, match="royalty weights fetch clip"):
        store.locate("clip")
    with pytest.raises(WeightsError, match="did you mean dinov2"):
        store.fetch("dino")
    with pytest.raises(WeightsError, match="use one of clip, dinov2"):
        store.locate("!")
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="set ROYALTY_WEIGHTS"):
        WeightsStore(tmp_path / "file").fetch("clip")


def test_every_entry_says_where_it_comes_from() -> None:
    for name, source in SOURCES.items():
        assert source.use, name
        assert source.licence, name
        assert all(file.url.startswith(("https://", "package:")) for file in source.files), name


def test_the_command_line_lists_and_fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROYALTY_WEIGHTS", str(tmp_path / "elsewhere"))
    settings.cache_clear()
    try:
        listed = CliRunner().invoke(app, ["weights", "list", "--json"])
        assert [row["name"] for row in json.loads(listed.stdout)] == list(SOURCES)
        assert not any(row["present"] for row in json.loads(listed.stdout))
        assert "densenet121" in CliRunner().invoke(app, ["weights", "list"]).stdout
        failed = CliRunner().invoke(app, ["weights", "fetch", "clipp"])
        assert isinstance(failed.exception, WeightsError)
        assert failed.exit_code
    finally:
        settings.cache_clear()
