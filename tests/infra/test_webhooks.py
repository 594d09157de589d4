"""MLflow's server makes a signed call when the alias of a model moves; the receiver of the guide checks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from cryptography.fernet import Fernet
from mlflow import MlflowClient

from royalty.infra.servers.loopback import mlflow_server
from royalty.infra.settings import Settings
from tests.docs.blocks import blocks_of

GUIDE = Path(__file__).parents[2] / "docs" / "pages" / "guides" / "notify.md"
SECRET = "only the two of us"
SECONDS = 60

Call = tuple[dict[str, str], bytes]


@pytest.fixture
def is_signed() -> Callable[..., bool]:
    """The function of the guide."""
    (code,) = (block.text for block in blocks_of(GUIDE) if "def is_signed" in block.text)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["is_signed"]


@pytest.fixture
def calls() -> Iterator[tuple[str, Queue[Call]]]:
    """The address of a receiver, and the calls that it got."""
    received: Queue[Call] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/royalty", received
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_moved_aliases_are_told_with_a_signature(
    tmp_path: Path,
    calls: tuple[str, Queue[Call]],
    is_signed: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", Fernet.generate_key().decode())
    # The receiver of the test is on this machine and has no certificate; a real one is public, and https.
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http")
    monkeypatch.setenv("_MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    address, received = calls
    server = mlflow_server(Settings(home=tmp_path / "home"))
    try:
        server.wait_until_ready()
        client = MlflowClient(server.url)
        events = ["model_version_alias.created", "model_version_alias.deleted"]
        client.create_webhook("royalty-aliases", address, events, secret=SECRET)
        client.create_registered_model("royalty-mine")
        for number in ("1", "2"):
            client.create_model_version("royalty-mine", "s3://models/mine")
            client.set_registered_model_alias("royalty-mine", "credited", number)
            headers, body = received.get(timeout=SECONDS)
            assert is_signed(headers, body, SECRET)
            told = json.loads(body)
            assert (told["entity"], told["action"]) == ("model_version_alias", "created")
            assert told["data"] == {"name": "royalty-mine", "alias": "credited", "version": number}
        client.delete_registered_model_alias("royalty-mine", "credited")
        headers, body = received.get(timeout=SECONDS)
        assert is_signed(headers, body, SECRET)
        assert json.loads(body)["data"] == {"name": "royalty-mine", "alias": "credited"}
    finally:
        server.stop()
    assert received.empty()
    assert not is_signed(headers, body, "another secret")
    assert not is_signed(headers, body.replace(b"credited", b"creditee"), SECRET)
    assert not is_signed({**headers, "X-MLflow-Delivery-Id": "1"}, body, SECRET)
    assert not is_signed({**headers, "X-MLflow-Timestamp": "1"}, body, SECRET)
    assert not is_signed(headers, body, SECRET, oldest=-1)
    assert not is_signed({}, body, SECRET)
    database = (tmp_path / "home" / "mlflow" / "mlflow.db").read_bytes()
    assert SECRET.encode() not in database
