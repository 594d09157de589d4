"""A year of scheduled runs, revaluations and payouts on a Prefect server, each at the date it was scheduled for."""

from __future__ import annotations

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
from prefect.states import Scheduled

from royalty.flows.credit import credit
from royalty.flows.payout import payout
from royalty.flows.revalue import revalue
from royalty.infra.settings import settings
from royalty.infra.workspace import open_workspace
from tests.conftest import FOLDER, save_digits
from tests.in_process import own_home

PEOPLE = ("ann", "bob", "cy", "dee")
CONFIG = FOLDER.replace("payout: {post: true, limits: {stderr: null}}\n", "") + "name: mine\npayout: {pool: 120.00}\n"
TERMS = {"pool": "120.00", "period_from": "previous-month", "limits": {"stderr": None}}
YEAR = [(2025, 12), *((2026, month) for month in range(1, 12))]


class Scheduler:
    """Deployments whose runs are started here, at the dates of their schedules, as a worker starts them."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self.client = client
        self.deployments = {}
        for flow in (credit, revalue, payout):
            identity = client.create_flow_from_name(flow.name)
            self.deployments[flow.name] = client.create_deployment(identity, name="scheduled")

    def run(self, flow: Flow[..., Any], at: datetime, **parameters: Any) -> FlowRun:
        """Create a run of a deployment that was scheduled for a date, and run it to its end."""
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
    (tmp_path / "mine.yaml").write_text(CONFIG)
    (tmp_path / "monthly.yaml").write_text(yaml.safe_dump(TERMS))
    with own_home(tmp_path / "home", prefect_url):
        yield tmp_path


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
                scheduler.run(payout, datetime(year, month, 1, 6, tzinfo=UTC), credit="mine", config="monthly.yaml"),
                scheduler.run(revalue, datetime(year, month, 3, 4, tzinfo=UTC), config="mine.yaml"),
                scheduler.run(credit, datetime(year, month, 4, 3, tzinfo=UTC), config="mine.yaml"),
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
        assert {statement.amount for statement in posted} == {12_000}
        assert len(set(tables)) == 3, "each change of images was credited once, and kept by the run after it"

        late = scheduler.run(payout, datetime(2026, 1, 2, tzinfo=UTC), credit="mine", config="monthly.yaml")
        assert late.state is not None
        assert late.state.is_completed()
        assert "2025-12 was paid on" in scheduler.artifacts(late)["change-mine"]
        assert "nothing was posted" in scheduler.artifacts(late)["change-mine"]
        assert open_workspace(settings()).ledger.statements() == posted

        shutil.move(folder / "images", folder / "elsewhere")
        lost = scheduler.run(credit, datetime(2026, 11, 5, tzinfo=UTC), config="mine.yaml")
        assert lost.state is not None
        assert lost.state.is_failed()
        assert str(folder / "images") in str(lost.state.message)
