"""`royalty index`, `attribute`, `serve` and `keys`, as they are installed; a service that is killed loses nothing."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from royalty.infra.attribution.shards import ShardStore
from royalty.infra.attribution.usage_log import UsageLog
from royalty.tasks.attribution.attributing import index_folder
from tests.conftest import ROYALTY, Run, environment_of, save_digits
from tests.flows.test_credit import result_of
from tests.indexed import built, features_of

LONG = 300


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@contextmanager
def serving(home: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """`royalty serve` on a home, until it is ended."""
    process = subprocess.Popen(
        [ROYALTY, "serve", "--port", str(port)],
        env=environment_of(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + LONG
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except httpx.TransportError:
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


def key_of(home: Path) -> str:
    done = subprocess.run(
        [ROYALTY, "keys", "add", "studio"], env=environment_of(home), capture_output=True, text=True, timeout=LONG
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def body(number: int) -> dict[str, Any]:
    return {
        "id": str(number),
        "model": "letters",
        "time": "2026-05-03T12:00:00Z",
        "embedding": features_of(1, number)[0].tolist(),
        "encoder": "features",
    }


@pytest.mark.kill
def test_a_killed_service_has_logged_all_that_it_answered(tmp_path: Path) -> None:
    home = tmp_path / "home"
    built(home)
    headers = {"Authorization": f"Bearer {key_of(home)}"}
    answered: dict[str, Any] = {}
    port = free_port()
    with serving(home, port) as process:

        def ask(part: int) -> None:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
                for number in range(part, 100_000, 4):
                    try:
                        answer = client.post("/v1/attributions", json=body(number))
                    except httpx.TransportError:
                        return
                    if answer.status_code == 200:
                        answered[str(number)] = answer.json()

        threads = [threading.Thread(target=ask, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        while len(answered) < 60:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    log = UsageLog(home / "attribution" / "log.db")
    assert log.problem() is None
    assert len(answered) >= 60
    for caller, answer in answered.items():
        logged = log.find("studio", caller)
        assert logged is not None
        assert logged.answer == {name: value for name, value in answer.items() if value is not None}
    with serving(home, port):
        again = httpx.post(f"http://127.0.0.1:{port}/v1/attributions", json=body(0), headers=headers, timeout=60)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json() == answered["0"]


@pytest.mark.cli
def test_images_are_indexed_and_attributed(royalty: Run, tmp_path: Path) -> None:
    files = save_digits(tmp_path / "train", ["Ada", "Bob", "Cyd"] * 10)
    (tmp_path / "index.yaml").write_text("{model: digits, train: train, encoder: pixels, size: 8, k: 5, far_rate: 0.1}")
    built = result_of(royalty("index", "build", "--config", "index.yaml", "--json"))
    assert (built["items"], built["contributors"]) == (30, 3)
    found = result_of(royalty("attribute", str(files[4]), "--picture", "behind.png", "--json"))[0]
    assert found["nearest"] == 0
    assert next(iter(found["contributors"])) == "Bob"
    assert found["items"][0]["file_name"].endswith("4.png")
    assert Image.open(tmp_path / "behind.png").size == (10 * 9 - 1, 8)
    shown = royalty("attribute", str(files[4]))
    assert "Bob" in shown.stdout
    removed = result_of(royalty("index", "remove", "--model", "digits", "--item", found["items"][0]["id"], "--json"))
    assert (removed["items"], removed["removed"]) == (29, 1)
    assert result_of(royalty("attribute", str(files[4]), "--json"))[0]["nearest"] > 0
    compacted = result_of(royalty("index", "compact", "--model", "digits", "--json"))
    assert (compacted["items"], compacted["removed"]) == (29, 0)
    again = result_of(royalty("index", "add", "--model", "digits", "--train", "train", "--json"))
    assert again["items"] == 30
    assert result_of(royalty("attribute", str(files[4]), "--json"))[0]["nearest"] == 0
    (listed,) = result_of(royalty("index", "list", "--verify", "--json"))
    assert listed["encoder"] == "pixels@1x8"

    (tmp_path / "broken.png").write_bytes(b"no image")
    Image.new("L", (10_000, 10_000)).save(tmp_path / "large.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / "colour.png")
    for arguments, message in {
        ("broken.png",): "broken.png cannot be read as an image",
        ("large.png",): "large.png unpacks to more than 64,000,000 pixels",
        ("none.png",): "cannot read the image none.png",
        ("colour.png",): "colour.png has colour, and all training images of digits are greyscale",
        (str(files[0]), "--model", "none"): "none has none; indexes in",
        (str(files[0]), "--version", "7"): "0 fit; name one",
    }.items():
        refused = royalty("attribute", *arguments)
        assert refused.returncode == 1
        assert message in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.slow
@pytest.mark.cli
def test_an_image_is_attributed_over_http_as_from_the_command_line(royalty: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    files = save_digits(tmp_path / "train", ["Ada", "Bob", "Cyd"] * 10)
    (tmp_path / "index.yaml").write_text("{model: digits, train: train, encoder: pixels, size: 8, k: 5}")
    refused = royalty("serve")
    assert "there is none; make one first: royalty keys add NAME" in refused.stderr
    result_of(royalty("index", "build", "--config", "index.yaml", "--json"))
    key = royalty("keys", "add", "studio").stdout.strip()
    assert "studio" in royalty("keys", "list").stdout
    assert "give `--allowed-host NAME:PORT`" in royalty("serve", "--host", "0.0.0.0").stderr
    (expected,) = result_of(royalty("attribute", str(files[3]), "--json"))
    port = free_port()
    with serving(home, port):
        asked = {
            "id": "one",
            "model": "digits",
            "time": "2026-05-03T12:00:00Z",
            "image": base64.b64encode(files[3].read_bytes()).decode(),
        }
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/attributions",
            json=asked,
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
        )
    found = answer.json()
    for name in ("contributors", "items", "others", "effective_items", "nearest", "index"):
        assert json.dumps(found[name]) == json.dumps(expected[name])
    (work,) = result_of(royalty("find", str(files[3]), "--json"))
    assert work["contained"]
    assert [output["attribution"] for output in work["outputs"]] == [found["attribution"]]
    assert work["outputs"][0]["share"] == found["items"][0]["share"]
    shown = royalty("find", str(files[3])).stdout
    assert "is among the training images" in shown
    assert found["attribution"] in shown
    assert ShardStore(index_folder(home, "digits", "1")).manifest().generation == 1


@pytest.mark.cli
def test_an_index_sees_and_shares_images_as_valuation_does(royalty: Run, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "train").mkdir()
    for number in range(12):
        pixels = generator.integers(0, 255, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "train" / f"{number}.png")
    lines = [f"{number}.png,{('Ada', 'Bob')[number % 2]}" for number in range(12)]
    (tmp_path / "train" / "metadata.csv").write_text("\n".join(["file_name,contributor", *lines]))
    built = result_of(royalty("index", "build", "--model", "noise", "--train", "train", "--json"))
    assert built["encoder"] == "efficientnet-lite0-96@3x20"  # five times the side, to a multiple of 32
    assert ShardStore(Path(built["folder"])).manifest().mean is not None
    (listed,) = result_of(royalty("index", "list", "--json"))
    assert listed["temperature"] == built["temperature"] > 0
    (found,) = result_of(royalty("attribute", "train/3.png", "--json"))
    assert found["nearest"] < 0.001  # embedded alone, an image differs from itself in a batch by rounding
    assert found["temperature"] == built["temperature"]
    assert next(iter(found["contributors"])) == "Bob"
    shown = royalty("attribute", "train/3.png").stdout
    assert "Date" in shown
    assert "Copies" in shown
    assert f"at temperature {built['temperature']:.3g}" in shown
    Image.open(tmp_path / "train" / "3.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored.png")
    Image.fromarray(generator.integers(0, 255, (20, 20, 3), np.uint8)).save(tmp_path / "other.png")
    mirrored, other = result_of(royalty("find", "mirrored.png", "other.png", "--json"))
    assert [item["file_name"] for item in mirrored["copy_of"]] == ["3.png"]
    assert not mirrored["contained"]
    assert other["copy_of"] == []
    shown = royalty("find", "mirrored.png", "other.png").stdout
    assert "mirrored.png is a copy of 1 of the training images of noise 1" in shown
    assert "other.png is not among the training images" in shown
    file = Path(built["folder"]) / "index.json"
    file.write_text(file.read_text().replace('"format": 3', '"format": 2'))
    refused = royalty("attribute", "train/3.png")
    assert refused.returncode == 1
    assert "has layout 2; build it again with `royalty index build`" in refused.stderr
