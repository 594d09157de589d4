"""Addresses of MLflow's pages."""

from __future__ import annotations

from royalty.infra.settings import Settings

MODE = "workflowType=machine_learning"
"""Without it, a browser that MLflow has not seen before shows the pages of language models: traces and judges."""


def experiments_page(server: str) -> str:
    return f"{server.rstrip('/')}/#/experiments?{MODE}"


def run_page(server: str, experiment: str, run: str) -> str:
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run}?{MODE}"


def artifact_page(server: str, experiment: str, run: str, file: str) -> str:
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{run}/artifacts/{file}?{MODE}"


def described_run(settings: Settings, run: str) -> str:
    """Address of a run whose experiment is not known; for a local store, which has no server yet, how to open it."""
    path = f"/#/runs/{run}"
    if settings.mlflow_uri.startswith("http"):
        return f"{settings.mlflow_uri.rstrip('/')}{path}"
    return f"{run} (`royalty ui` shows it at {path})"
