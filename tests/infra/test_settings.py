"""Where state lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from royalty.flows.cli.app import main
from royalty.infra.errors import UserError
from royalty.infra.processes.machine import free_port
from royalty.infra.settings import Settings, cores, settings
from royalty.infra.stores.artifacts import StoreError
from royalty.infra.workspace import check_home


def test_a_worker_keeps_nothing_in_the_passing_folder_of_a_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "b6f7c1a0-5d0f-4a54-9b0e-0a8f2f3c1d2e")
    monkeypatch.delenv("ROYALTY_HOME", raising=False)
    settings.cache_clear()
    with pytest.raises(ValueError, match=r"ROYALTY_HOME must be an absolute path, got '\.royalty'"):
        settings()
    monkeypatch.setenv("ROYALTY_HOME", "/srv/royalty")
    assert str(settings().root) == "/srv/royalty"
    settings.cache_clear()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WORKERS", "0", "ROYALTY_WORKERS: input should be greater than 0; got '0'. Correct it, or unset"),
        ("WORKERS", "two", "ROYALTY_WORKERS: input should be a valid integer, .*; got 'two'"),
        ("RUNNER", "dusk", "^ROYALTY_RUNNER must be threads, dask, ray, or the address of a cluster .* got 'dusk'$"),
        ("ARTIFACTS", "gs://x", "^ROYALTY_ARTIFACTS must be the address of a bucket, .* got 'gs://x'"),
    ],
)
def test_a_wrong_variable_is_told_in_one_line(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"ROYALTY_{name}", value)
    settings.cache_clear()
    with pytest.raises(UserError, match=told):
        settings()
    monkeypatch.setattr("sys.argv", ["royalty", "doctor"])
    with pytest.raises(SystemExit):
        main()
    told_here = capsys.readouterr().err
    assert told_here.startswith(f"royalty: ROYALTY_{name}")
    assert "Traceback" not in told_here
    monkeypatch.undo()
    settings.cache_clear()


def test_a_cluster_that_does_not_answer_is_refused_at_once(tmp_path: Path) -> None:
    for address, why in ((f"tcp://127.0.0.1:{free_port()}", "refused"), ("ray://head", "no host or no port")):
        with pytest.raises(StoreError, match=f"ROYALTY_RUNNER is the address of a cluster that answers, .*{why}"):
            check_home(Settings(home=tmp_path / "home", runner=address))


@pytest.mark.parametrize(("visible", "workers"), [(None, 3), ("0,2", 2), ("", cores()), ("-1", cores())])
def test_one_worker_a_gpu_or_a_core(
    visible: str | None, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROYALTY_WORKERS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("royalty.infra.settings.GPUS", tmp_path / "gpus")
    assert Settings().workers == Settings().readers == cores()
    for place in range(3):
        (tmp_path / "gpus" / f"0000:{place}").mkdir(parents=True)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    own = Settings()
    assert (own.workers, own.readers, own.threads) == (workers, cores(), max(1, cores() // workers))
    assert Settings(workers=1).readers == 1
