"""A year of the tutorial "Pay every month" on a Prefect server: its files, and the dates of its schedules."""

from __future__ import annotations

import asyncio
import inspect
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow
from prefect.server.schemas.schedules import CronSchedule
from prefect.states import Scheduled

from royalty.flows.credit import credit
from royalty.flows.payout import payout
from royalty.flows.revalue import revalue
from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from royalty.tasks.config.payout import PayoutConfig
from tests.conftest import FOLDER, save_digits
from tests.docs.blocks import ROOT, blocks_of
from tests.in_process import own_home

TUTORIAL = ROOT / "docs" / "pages" / "tutorials" / "monthly.md"
MINE, MONTHLY, CHANGED = (yaml.safe_load(block.text) for block in blocks_of(TUTORIAL) if block.language == "yaml")
DEPLOYED = {entry["name"]: entry for entry in CHANGED}
"""What the tutorial changes of `prefect.yaml`."""
FLOWS: dict[str, Flow[..., Any]] = {"credit": credit, "revalue": revalue, "payout": payout}

PEOPLE = ("ann", "bob", "cy", "dee")
SMALL = yaml.safe_load(FOLDER) | MINE | {"data": {**MINE["data"], "size": 8}}
"""The configuration of the tutorial, with a model that trains in seconds."""
YEAR = [(2025, 12), *((2026, month) for month in range(1, 12))]


class Scheduler:
    """Deployments whose runs are started here, at the dates of their schedules, as a worker starts them."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self.client = client
        self.deployments = {}
        for flow in FLOWS.values():
            identity = client.create_flow_from_name(flow.name)
            self.deployments[flow.name] = client.create_deployment(identity, name="scheduled")

    def run(self, name: str, since: datetime) -> FlowRun:
        """Create the run of a deployment that its schedule has next, and run it to its end."""
        flow, parameters, (schedule,) = FLOWS[name], DEPLOYED[name]["parameters"], DEPLOYED[name]["schedules"]
        (at,) = asyncio.run(CronSchedule(**schedule).get_dates(1, start=since))
        created = self.client.create_flow_run_from_deployment(
            self.deployments[flow.name], parameters=parameters, state=Scheduled(scheduled_time=at)
        )
        run_flow(flow, flow_run=self.client.read_flow_run(created.id), parameters=parameters, return_type="state")
        return self.client.read_flow_run(created.id)

    def artifacts(self, run: FlowRun) -> dict[str, str]:
        filtered = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        made = self.client.read_artifacts(artifact_filter=filtered)
        # Text in artifacts is Markdown, in which marks are escaped.
        return {str(artifact.key): f"{artifact.description} {artifact.data}".replace("\\", "") for artifact in made}


@pytest.fixture
def folder(tmp_path: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home, and a folder with images and a configuration that deployments name by a relative path."""
    monkeypatch.setenv("ROYALTY_FOLDER", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SMALL))
    (tmp_path / "monthly.yaml").write_text(yaml.safe_dump(MONTHLY | {"limits": {"stderr": None}}))
    with own_home(tmp_path / "home", prefect_url):
        yield tmp_path


def test_the_tutorial_changes_deployments_that_there_are() -> None:
    given = {entry["name"]: entry for entry in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    assert set(DEPLOYED) == set(FLOWS)
    for name, entry in DEPLOYED.items():
        assert given[name]["entrypoint"] == f"royalty.flows.{name}.{name}"
        assert set(entry["parameters"]) == set(given[name]["parameters"])
        assert set(entry["parameters"]) <= set(inspect.signature(FLOWS[name].fn).parameters)
        (schedule,), (shipped,) = entry["schedules"], given[name]["schedules"]
        assert {**schedule, "active": False} == shipped, "the tutorial switches it on"
    assert DEPLOYED["payout"]["parameters"]["credit"] == MINE["name"]
    assert PayoutConfig.model_validate(MONTHLY).period_from == "previous-month"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_year_of_schedules(folder: Path, prefect_url: str) -> None:
    files = save_digits(folder / "images", [PEOPLE[index % 4] for index in range(96)])
    tables: list[str] = []
    with SyncPrefectClient(prefect_url) as client:
        scheduler = Scheduler(client)
        for number, (year, month) in enumerate(YEAR):
            if number in (3, 7):  # a drawer brings other images
                Image.open(files[number]).transpose(Image.Transpose.ROTATE_180).save(files[number])
            runs = [
                scheduler.run("payout", datetime(year, month, 1, tzinfo=UTC)),
                scheduler.run("revalue", datetime(year, month, 3, tzinfo=UTC)),
                scheduler.run("credit", datetime(year, month, 4, tzinfo=UTC)),
            ]
            states = [run.state for run in runs]
            if number == 0:  # nothing is credited yet: payout and revaluation say so in one line
                assert [state.is_completed() for state in states if state] == [False, False, True]
                for run, state in zip(runs[:2], states[:2], strict=True):
                    assert state is not None
                    assert "\n" not in str(state.message)
                    assert "royalty run" in str(state.message)
                    assert "This run was refused" in scheduler.artifacts(run)["refused"]
            else:
                assert all(state is not None and state.is_completed() for state in states), states
            tables.append(str(open_workspace(settings()).ledger.credit_of("mine")))

        posted = open_workspace(settings()).ledger.statements()
        assert [statement.period for statement in posted] == [f"{year}-{month:02}" for year, month in YEAR[:-1]]
        assert {statement.kind for statement in posted} == {"division"}
        assert {statement.amount for statement in posted} == {100_000}
        assert len(set(tables)) == 3, "each change of images was credited once, and kept by the run after it"

        late = scheduler.run("payout", datetime(2026, 1, 1, tzinfo=UTC))
        assert late.state is not None
        assert late.state.is_completed()
        assert "2025-12 was paid on" in scheduler.artifacts(late)["change-mine"]
        assert "nothing was posted" in scheduler.artifacts(late)["change-mine"]
        assert open_workspace(settings()).ledger.statements() == posted

        shutil.move(folder / "images", folder / "elsewhere")
        lost = scheduler.run("credit", datetime(2026, 11, 5, tzinfo=UTC))
        assert lost.state is not None
        assert lost.state.is_failed()
        assert str(folder / "images") in str(lost.state.message)
