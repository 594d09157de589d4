"""Events of payouts and cases on a real server, and the automations that ship: they send what they should."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prefect.blocks.core import Block
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.worker import EventsWorker

from royalty.flows.case import decide_case, open_case
from royalty.infra.settings import settings
from royalty.infra.tracking.events import emit
from royalty.infra.workspace import open_workspace
from royalty.models.base.errors import InputError
from tests.docs.blocks import blocks_of
from tests.in_process import own_home
from tests.paying import credited, pay, paying_home

ROOT = Path(__file__).parent.parent.parent
GUIDE = ROOT / "docs" / "pages" / "guides" / "notify.md"
PREFECT = Path(sys.executable).with_name("prefect")
SECONDS = 120


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.2)


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[str]]]:
    """A stand-in for Slack and mail: an address, and the texts that are sent there."""
    texts: list[str] = []

    class Inbox(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Inbox)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", texts
    server.shutdown()
    thread.join()
    server.server_close()


def test_without_a_server_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise AssertionError("an event was sent")

    monkeypatch.setattr("prefect.events.emit_event", fail)
    emit("royalty.payout.posted", "royalty.pool.x", "x", {})


def test_the_blocks_of_the_guide_are_made_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = (block.text for block in blocks_of(GUIDE) if "SLACK_BLOCK" in block.text and "import" in block.text)
    made: dict[str, Block] = {}
    monkeypatch.setattr(Block, "save", lambda block, name: made.setdefault(name, block))
    exec(code, {})
    channels = {name: [type(each).__name__ for each in block._apprise_client] for name, block in made.items()}
    assert channels == {"royalty-slack": ["NotifySlack"], "royalty-mail": ["NotifySendGrid"]}


@pytest.mark.slow
@pytest.mark.cli
def test_payouts_and_cases_are_told(
    tmp_path: Path, prefect_url: str, inbox: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    address, texts = inbox
    with SyncPrefectClient(prefect_url), own_home(tmp_path / "home", prefect_url):
        block = CustomWebhookNotificationBlock(name="inbox", url=address, json_data={"text": "{{subject}} | {{body}}"})
        identity = block.save(f"inbox-{tmp_path.name.replace('_', '-')}"[:40].strip("-"), overwrite=True)
        template = (ROOT / "infra" / "deploy" / "notifications.yaml").read_text()
        written = tmp_path / "notifications.yaml"
        written.write_text(template.replace("SLACK_BLOCK", str(identity)).replace("MAIL_BLOCK", str(identity)))
        done = subprocess.run(
            [PREFECT, "automation", "create", "--from-file", written], capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        with paying_home(tmp_path / "home"):
            credited(open_workspace(settings()), "show", {"ann": 3.0, "bob": 1.0})
            case = open_case.fn("Agency", ["bob"], "copies", by="clerk")
            terms = {"pool": "100.00", "name": tmp_path.name}
            assert pay("show", terms).statement is not None
            pay("show", terms)  # repeated: nothing is posted, and nothing is told
            decide_case.fn(case.id, "release", "settled", by="judge")
            pay("show", {**terms, "period": "2", "approval": {"above": "1.00"}})
            with pytest.raises(InputError, match="standard error"):
                pay("show", {**terms, "pool": "70.00", "period": "3", "limits": {"stderr": 1e-9}})
        emit("royalty.credit.moved", "royalty.run.show", "show", {"run": "show", "people": 2, "certain": 1})
        EventsWorker.instance().drain()
        until(lambda: len(texts) >= 7)
        time.sleep(1)
    told = sorted(json.loads(text)["text"].replace(tmp_path.name, "POOL") for text in texts)
    for part in (
        "royalty.payout.posted: POOL | royalty.payout.posted: €75.00 of POOL",
        "royalty.payout.held: POOL | royalty.payout.held: €25.00 of POOL",
        "royalty.payout.refused: POOL 3 | royalty.payout.refused: €70.00 of POOL 3",
        f"royalty.case.opened: case {case.id}",
        f"royalty.case.decided: case {case.id}",
        "A payout of €100.00 waits for approval",
        "Credit of show moved",
    ):
        assert sum(part in text for text in told) == 1, (part, told)
    assert not any(name in text for name in ("ann", "bob", "Agency") for text in told), "events name nobody"
