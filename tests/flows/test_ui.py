"""`royalty ui`: the addresses that it prints open the pages of the latest run."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from royalty.infra.settings import Settings
from tests.browser import Browser
from tests.conftest import LONG, ROYALTY, environment_of
from tests.flows.test_run_report import logged
from tests.tracing import made_up

SPLIT = "royalty.tasks.report.track", "royalty.tasks.stages.running"


@pytest.mark.browser
@pytest.mark.cli
@pytest.mark.slow
def test_the_latest_run_is_named_and_its_address_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Settings(home=tmp_path / "home")
    for module in SPLIT:
        monkeypatch.setattr(f"{module}.settings", lambda: here)
    run = logged(made_up(here.root)).logged_run.outputs.run
    environment = environment_of(here.root) | {"PREFECT_HOME": str(tmp_path / "prefect")}
    process = subprocess.Popen([ROYALTY, "ui"], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = []
        while not (lines and lines[-1].startswith("Press Ctrl-C")):
            lines.append(next(process.stdout))
        addresses = dict(re.match(r"(\w+(?: run)?) +(http\S+)$", line.strip()).groups() for line in lines[:-1])  # type: ignore[union-attr]
        assert list(addresses) == ["MLflow", "Prefect", "Latest run"]
        assert f"/runs/{run}?" in addresses["Latest run"]
        with Browser() as browser:
            browser.open(addresses["Latest run"], wait=False)
            browser.until("document.body && document.body.innerText.includes('**Payment') === false", LONG)
            browser.until("document.body && document.body.innerText.includes('Credits 2 contributors')", LONG)
            assert "june" in browser.run("document.body.innerText")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(LONG)
