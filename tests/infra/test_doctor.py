"""`royalty doctor` on a sound machine, and on one on which nothing is as it should be."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import royalty.infra.doctor
from royalty.flows.cli.app import app
from royalty.infra.audit.checkpoints import Notary
from royalty.infra.audit.signing import new_key
from royalty.infra.doctor import Finding
from royalty.infra.processes.machine import free_port
from royalty.infra.settings import Settings, settings
from royalty.infra.stores.runstore import RunStore, StageRecord
from royalty.infra.stores.weights import RECORD
from royalty.infra.workspace import open_workspace
from tests.infra.test_signed_links import forge_act
from tests.ledgers import euros

LINES = ["versions", "devices", "weights", "Prefect", "MLflow", "ledger", "disk", "permissions", "key", "clock"]


class Late(BaseHTTPRequestHandler):
    """A Prefect server of before, whose clock is years behind, and an MLflow server that wants a password."""

    def do_GET(self) -> None:
        refused = "mlflow" in self.path
        self.send_response_only(401 if refused else 200, "Unauthorized" if refused else None)
        self.send_header("Date", "Thu, 01 Jan 2015 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(b'"3.8.7"')

    def log_message(self, *arguments: object) -> None:
        """Nothing: the terminal is the test's."""


@pytest.fixture
def late() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Late)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("ROYALTY_DATABASE_URL", "ROYALTY_MLFLOW_URI", "ROYALTY_WEIGHTS", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROYALTY_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def doctor() -> tuple[Result, dict[str, Finding]]:
    """The command's result, and what it found by line."""
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    found = [Finding(**row) for row in json.loads(done.stdout)["findings"]]
    assert [finding.line for finding in found] == LINES
    return done, {finding.line: finding for finding in found}


def test_a_machine_that_will_do_passes_before_its_first_run_and_after(tmp_path: Path) -> None:
    done, found = doctor()
    assert done.exit_code == 0, found
    assert "the first run creates" in found["ledger"].says
    assert not (tmp_path / "home").exists(), "looking changes nothing"
    open_workspace(Settings(home=tmp_path / "home"))
    done, found = doctor()
    assert done.exit_code == 0, found
    assert "0 statements, all verified" in found["ledger"].says
    assert "signing.pem, which the first posting writes, not encrypted" in found["key"].says
    pem = tmp_path / "home" / "audit" / "signing.pem"
    new_key(pem)
    done, found = doctor()
    assert done.exit_code == 0, "this is a warning"
    assert f"{pem}, not encrypted: whoever reads it, or a backup of it" in found["key"].says
    shown = CliRunner().invoke(app, ["doctor"])
    assert [line.split()[:2] for line in shown.stdout.splitlines()] == [["✓", line] for line in LINES]


def test_the_ledger_is_verified_with_the_key_of_the_home(tmp_path: Path) -> None:
    home = Settings(home=tmp_path / "home")
    space = open_workspace(home)
    space.ledger.post("may", euros("v1", {"ann": 60}))
    space.acts.record("case", "opened", "clerk", {"reason": "copies"}, "c1")
    assert doctor()[1]["ledger"].says.endswith("1 statement, all verified, with signatures")
    marks = [home.root / "audit/checkpoints" / name for name in ("rows.json", "links.json")]
    for mark in marks:
        mark.rename(mark.with_suffix(".away"))
    assert "are not signed yet: the next command that writes signs them" in doctor()[1]["ledger"].says
    for mark in marks:
        mark.with_suffix(".away").rename(mark)
    stranger = Notary(tmp_path / "there/audit")
    RunStore(space.ledger.engine, stranger).record_stage(StageRecord("train", "theirs", {}, {}, 1.0))
    with space.ledger.engine.begin() as connection:
        forge_act(connection)
    checkpoint = home.root / "audit/checkpoints/00000001.json"
    checkpoint.write_text(checkpoint.read_text().replace('"time":"20', '"time":"19'))
    done, found = doctor()
    assert (done.exit_code, found["ledger"].passes) == (1, False)
    for difference in (
        f"row theirs is not valid: it is signed by the key {stranger.signer.id}, which is none of",
        "act 2 ('decided' of case c1) is not valid: it is not signed",
        "00000001.json was changed: its signature does not fit",
    ):
        assert difference in found["ledger"].says


def test_each_line_that_fails_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: str) -> None:
    home = tmp_path / "home"
    open_workspace(Settings(home=home))
    with closing(sqlite3.connect(home / "royalty.db")) as database:
        database.execute("insert into stages values ('k', 'train', '{}', '{}', 1.0, '2999-01-01T00:00:00+00:00')")
        database.commit()
    home.chmod(0o777)
    (home / "mlflow").mkdir()
    (home / "mlflow" / "mlflow.db").write_bytes(b"no database")
    (home / "weights" / "clip").mkdir(parents=True)
    entries = {"config.json": {"bytes": 1, "sha256": "0" * 64}}
    (home / "weights" / "clip" / RECORD).write_text(json.dumps({"files": entries}))
    pem = home / "audit" / "signing.pem"
    new_key(pem)
    pem.chmod(0o644)
    monkeypatch.setattr(royalty.infra.doctor, "FREE_SPACE", 2**70)
    monkeypatch.setattr(royalty.infra.doctor, "requires", lambda name: ["torch<1", "no-such-package>=2"])
    monkeypatch.setattr(royalty.infra.doctor, "DRIVER", home)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    done, found = doctor()
    assert done.exit_code == 1
    assert [line for line, finding in found.items() if finding.passes] == []
    for line, remedy in {
        "ledger": "no flow wrote it to the run store",
        "versions": "no-such-package>=2 is required, but not installed. Install the versions",
        "devices": "install a build of PyTorch",
        "weights": "`royalty weights fetch clip`",
        "Prefect": "nothing answers",
        "MLflow": "is damaged",
        "disk": "free some",
        "permissions": f"chmod o-w {home}",
        "key": f"chmod go= {pem}",
        "clock": "the clock went back",
    }.items():
        assert remedy in found[line].says

    home.chmod(0o755)
    (home / "letters").mkdir()  # it is not Royalty's alone, which leaves it as it is
    _, found = doctor()
    assert f"`chmod go= {home}`" in found["permissions"].says

    with closing(sqlite3.connect(home / "royalty.db")) as database:
        database.execute("drop trigger stages_no_delete")
        database.execute("delete from stages")
        database.commit()
    monkeypatch.setenv("PREFECT_API_URL", f"{late}/api")
    monkeypatch.setenv("ROYALTY_MLFLOW_URI", late)
    settings.cache_clear()
    _, found = doctor()
    assert "has version 3.8.7, older than" in found["Prefect"].says
    assert "the answer is 401 Unauthorized; start the server" in found["MLflow"].says
    assert "clock of the Prefect server is" in found["clock"].says
    assert "behind this machine's" in found["clock"].says

    monkeypatch.setenv("ROYALTY_DATABASE_URL", "postgresql+psycopg://royalty:secret@127.0.0.1:1/royalty")
    monkeypatch.setenv("ROYALTY_HOME", str(home / "royalty.db"))
    settings.cache_clear()
    done, found = doctor()
    assert "Start the database, or set ROYALTY_DATABASE_URL" in found["ledger"].says
    assert "is not a folder; move it away" in found["permissions"].says
    assert "secret" not in done.stdout


def test_a_key_with_a_password_is_encrypted_and_another_password_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = tmp_path / "key.pem"
    new_key(pem, "secret")
    monkeypatch.setenv("ROYALTY_SIGNING_KEY", str(pem))
    for password, passes, says in (("secret", True, f"{pem}, encrypted"), ("wrong", False, "Correct the password")):
        monkeypatch.setenv("ROYALTY_SIGNING_PASSWORD", password)
        settings.cache_clear()
        finding = doctor()[1]["key"]
        assert finding.passes is passes
        assert says in finding.says
