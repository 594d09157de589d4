"""Compose file, Dockerfiles and templates of work pools, by the schemas and linters of the tools that read them.

No container engine runs here: what these files say is checked, and that a container does it is not.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import kubernetes_validate
import pytest
import yaml
from docker.types import DeviceRequest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.workers.base import BaseJobConfiguration
from prefect_docker.worker import DockerWorkerJobConfiguration
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration
from sqlalchemy import create_engine, text

from royalty.infra.servers.postgres import throwaway_postgres

Configuration = TypeVar("Configuration", bound=BaseJobConfiguration)

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "infra" / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def tool(name: str, *arguments: str) -> None:
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def template(pool: str) -> dict[str, Any]:
    return json.loads((DEPLOY / "pools" / f"{pool}.json").read_text())


def configured(kind: type[Configuration], pool: str, server: str, **values: Any) -> Configuration:
    """What a worker of a pool with this template makes of a flow run."""

    async def make() -> Configuration:
        async with PrefectClient(server) as client:
            return await kind.from_template_and_values(template(pool), values, client=client)

    made = asyncio.run(make())
    made.prepare_for_flow_run(FlowRun(flow_id=uuid4(), name="tidy-falcon"))
    return made


def test_the_tools_accept_their_files() -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "infra/deploy/compose.yaml")
    tool("hadolint", *(str(path.relative_to(ROOT)) for path in sorted(DEPLOY.glob("containers/*.Dockerfile"))))


def test_nothing_is_offered_beyond_this_machine_and_every_password_is_the_users() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert not service["image"].endswith(":latest"), name
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key or "SECRET" in key or "@" in value:
                assert "${" in value, f"{name}: {key} is written in the file"
    for path in DEPLOY.glob("containers/*.Dockerfile"):
        lines = path.read_text().splitlines()
        assert [line for line in lines if line.startswith("USER")] == ["USER 10001"]
        assert [line for line in lines if line.startswith("FROM")] == ["FROM python:3.11.14-slim-bookworm"]


def test_servers_answer_to_their_names_and_own_pages_alone() -> None:
    for name, port in (("prefect", 4200), ("mlflow", 5000)):
        service = COMPOSE["services"][name]
        names = f"{name}:{port},127.0.0.1:{port},localhost:{port}"
        assert f"--allowed-hosts={names}" in service["command"]
    environment = COMPOSE["services"]["prefect"]["environment"]
    own = environment["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"].split(",")
    assert environment["PREFECT_SERVER_UI_API_URL"].removesuffix("/api") in own
    assert own == ["http://127.0.0.1:4200", "http://localhost:4200"]


@pytest.mark.postgres
def test_the_databases_are_those_that_the_servers_name() -> None:
    wanted = {
        value.rpartition("/")[2]
        for service in COMPOSE["services"].values()
        for value in service.get("environment", {}).values()
        if value.startswith("postgresql+")
    }
    with throwaway_postgres() as server:
        engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in (DEPLOY / "containers" / "databases.sql").read_text().split(";\n"):
                connection.exec_driver_sql(statement)
            made = set(connection.scalars(text("SELECT datname FROM pg_database WHERE NOT datistemplate")))
        engine.dispose()
    assert made == {"postgres", *wanted}
    assert len(wanted) == 3
    assert COMPOSE["services"]["postgres"]["environment"]["POSTGRES_DB"] == "postgres", "what it makes of itself"


@pytest.mark.slow
def test_a_worker_makes_of_the_kubernetes_template_a_job_with_a_gpu(prefect_url: str) -> None:
    configuration = configured(KubernetesWorkerJobConfiguration, "kubernetes", prefect_url, env={"GREETING": "hello"})
    job = configuration.job_manifest
    pod = job["spec"]["template"]["spec"]
    for wanted_by_prefect in ("completions", "parallelism"):  # of a pod, which has no such fields; servers drop them
        pod.pop(wanted_by_prefect)
    kubernetes_validate.validate(job, "1.33", strict=True)
    container = pod["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {"name": "GREETING", "value": "hello"} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "royalty"}}]
    assert "{{" not in json.dumps(job)
    assert pod["securityContext"]["runAsUser"] == 10001


@pytest.mark.slow
def test_a_worker_makes_of_the_docker_template_a_container_with_a_gpu(prefect_url: str) -> None:
    configuration = configured(DockerWorkerJobConfiguration, "docker", prefect_url, env={"GREETING": "hello"})
    assert configuration.container_create_kwargs is not None
    (asked,) = configuration.container_create_kwargs["device_requests"]
    assert DeviceRequest(**asked)["Count"] == 1
    assert configuration.image == COMPOSE["services"]["worker"]["image"]
    assert configuration.networks == [f"{COMPOSE['name']}_default"]
    assert configuration.volumes == [f"{COMPOSE['name']}_{COMPOSE['services']['worker']['volumes'][0]}"]
    assert configuration.env["GREETING"] == "hello"
